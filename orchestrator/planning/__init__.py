"""Pure decisions: facts and `now` come in, plans with reasons go out."""
