"""The words of the product as data: frozen dataclasses, ports and errors; standard library only."""
