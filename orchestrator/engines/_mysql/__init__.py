"""MariaDB and MySQL, which share everything but details: `mariadb.py` and `mysql.py` name the two engines.

options.py what can be set · server.py which of the two it is · connection.py sessions that cannot hang · defaults.py
coordinates for client programs · tools.py the client programs · grants.py, rights.py what our user may · inventory.py
what a database holds · probe.py · dump.py · script.py, census.py a dump's pieces, counted while they pass · header.py
the database itself · restore.py · rewrite.py what must differ in a copy · names.py what still names the original ·
accounts.py users and grants · verify.py · swap.py
"""
