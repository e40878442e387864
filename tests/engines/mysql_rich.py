"""A MariaDB and a MySQL database as rich as the field's, as scripts whose statements are separated by `;;` lines."""

from __future__ import annotations

COMMON = r"""
CREATE TABLE customer (id int unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(100) NOT NULL, doc json, photo blob,
  flags bit(5), feeling enum('a', 'b''q', 'c
d'), sets set('x', 'y'), amount decimal(30, 10), day date, at datetime(6), ts timestamp(3) NULL, took time(2), y year,
  f float, g double, low varchar(100) GENERATED ALWAYS AS (lower(name)) STORED,
  virt bigint GENERATED ALWAYS AS (amount + 1) VIRTUAL, secret int INVISIBLE DEFAULT 5, CHECK (amount < 1e9),
  KEY (name), FULLTEXT (name)) CHARSET utf8mb4 COMMENT 'it''s \\ a
comment'
;;
CREATE TABLE zero (id int PRIMARY KEY, day date NOT NULL DEFAULT '0000-00-00',
  at datetime DEFAULT '0000-00-00 00:00:00')
;;
CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, customer int unsigned, total decimal(12, 2),
  FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE) AUTO_INCREMENT 4711
;;
CREATE TABLE parts (id int, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE COLUMNS (at)
  (PARTITION a VALUES LESS THAN ('2026-02-01'), PARTITION b VALUES LESS THAN (MAXVALUE))
;;
CREATE TABLE hashed (id int PRIMARY KEY, v text) PARTITION BY HASH (id) PARTITIONS 3
;;
CREATE TABLE old (id int PRIMARY KEY, txt text, FULLTEXT (txt)) ENGINE MyISAM
;;
CREATE TABLE geo (id int PRIMARY KEY, p point NOT NULL, shape geometry, SPATIAL INDEX (p))
;;
CREATE TABLE letters (a varchar(20) COLLATE latin1_german1_ci, b varchar(20) CHARACTER SET utf16, c varchar(20)
  CHARACTER SET cp1251, d char(5) CHARACTER SET binary) CHARSET latin1
;;
CREATE TABLE bare (a int, b text)
;;
CREATE TABLE audit (what text)
;;
CREATE TABLE nothing (id int PRIMARY KEY)
;;
CREATE TABLE `select` (`from` int PRIMARY KEY, `#x` int)
;;
CREATE TABLE `LOCK TABLES ``x`` WRITE;
--` (id int PRIMARY KEY, `DELIMITER ;;
x` int)
;;
INSERT INTO customer (name, doc, photo, flags, feeling, sets, amount, day, at, ts, took, y, f, g, secret) VALUES
  ('nämé 😀 ''q" \\ \n\r\0\Z `;', '{"a": [1, 2.5, {"b": null}], "ü": "\\n"}', x'00ff5c270a', b'10101', 'b''q', 'x,y',
   1234.56789, '2026-01-01', '2026-01-01 01:02:03.123456', '2026-01-01 01:02:03.5', '-12:34:56.78', 2026, 1.5, 1e300,
   7),
  (');\n/*!40000 ALTER TABLE `customer` ENABLE KEYS */;\n', NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL), ('-- Dump completed', '[]', '', b'0', 'a', NULL, -0.0000000001, '1000-01-01',
   '9999-12-31 23:59:59', '1970-01-02 00:00:01', '838:59:59', 1901, -0.0, 5e-324, NULL)
;;
INSERT INTO zero VALUES (1, '0000-00-00', '0000-00-00'), (2, '2026-00-15', '2026-01-00')
;;
INSERT INTO orders (customer, total) VALUES (1, 10.5), (2, 20)
;;
INSERT INTO parts VALUES (1, '2026-01-05'), (2, '2026-03-04')
;;
INSERT INTO hashed VALUES (1, 'a'), (2, 'b'), (3, NULL)
;;
INSERT INTO old VALUES (2, 'hello world'), (1, 'again')
;;
INSERT INTO geo VALUES (1, ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0.5)'))
;;
INSERT INTO letters VALUES ('ä', '日本', 'жук', x'00ff'), ('', NULL, '', NULL)
;;
INSERT INTO bare VALUES (3, 'x'), (1, 'line
break;'), (1, NULL), (NULL, '')
;;
INSERT INTO `select` VALUES (1, 2), (0, 3)
;;
INSERT INTO `LOCK TABLES ``x`` WRITE;
--` VALUES (1, NULL), (2, 3)
;;
CREATE FUNCTION plus(x int) RETURNS int DETERMINISTIC SQL SECURITY INVOKER COMMENT 'it''s' RETURN x + 1
;;
CREATE PROCEDURE note(IN a int, OUT b text CHARACTER SET latin1) BEGIN
INSERT INTO `audit` VALUES ('x;');
/*
DROP TABLE audit;
LOCK TABLES `audit` WRITE;
/*!40000 ALTER TABLE `audit` DISABLE KEYS * /;
-- Dump completed
*/
SET b = "done";
END
;;
CREATE TRIGGER first AFTER INSERT ON orders FOR EACH ROW BEGIN INSERT INTO audit VALUES ('in
s'); END
;;
CREATE TRIGGER `sec``ond` BEFORE UPDATE ON `orders` FOR EACH ROW SET NEW.total = NEW.total + 0
;;
create /* a remark */ trigger rich . third after delete on `rich` .orders for each row insert into rich.audit values (1)
;;
CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ON COMPLETION PRESERVE COMMENT 'it''s ENABLE'
  DO INSERT INTO audit VALUES ('event')
;;
CREATE EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' DO BEGIN INSERT INTO audit VALUES ('once'); END
;;
CREATE EVENT asleep ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2026-01-01' ENDS '2037-01-01' DISABLE DO SELECT 1
;;
CREATE VIEW seen AS SELECT customer.id, plus(total) AS more FROM customer
  JOIN orders ON customer.id = orders.customer WITH CASCADED CHECK OPTION
;;
CREATE ALGORITHM = MERGE VIEW above AS SELECT * FROM seen WHERE more > 3
;;
CREATE VIEW calls AS SELECT 'lit
`rich`.`plus`(' AS a, rich.plus(3) AS b, rich.customer.name FROM rich.customer
"""

MARIADB = (
    COMMON
    + r"""
;;
CREATE SEQUENCE ticket START 1000 INCREMENT 7
;;
SELECT NEXTVAL(ticket)
;;
CREATE TABLE numbered (id int PRIMARY KEY DEFAULT NEXTVAL(ticket), v int, note text DEFAULT 'nextval(`rich`.`ticket`)')
;;
INSERT INTO numbered (v) VALUES (1), (2)
;;
CREATE TABLE past (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING
;;
INSERT INTO past VALUES (1, 1), (2, 2), (3, 3)
;;
UPDATE past SET v = 10 WHERE id = 1
;;
DELETE FROM past WHERE id = 2
;;
CREATE TABLE aria (id int) ENGINE Aria
;;
INSERT INTO aria VALUES (3), (1), (2)
;;
CREATE TABLE kinds (u uuid, i inet6, c text COMPRESSED)
;;
INSERT INTO kinds VALUES ('123e4567-e89b-12d3-a456-426614174000', '::1', repeat('x', 300)), (NULL, NULL, NULL)
;;
CREATE AGGREGATE FUNCTION total(x int) RETURNS int BEGIN DECLARE s int DEFAULT 0;
DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN s; LOOP FETCH GROUP NEXT ROW; SET s = s + x; END LOOP; END
;;
SET SESSION sql_mode = 'ORACLE'
;;
CREATE PACKAGE tools AS FUNCTION one RETURN INT; END
;;
CREATE PACKAGE BODY tools AS FUNCTION one RETURN INT AS BEGIN RETURN 1; END; END
;;
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'
;;
CREATE FUNCTION slash() RETURNS text DETERMINISTIC RETURN 'a\'
;;
SET SESSION sql_mode = ''
"""
)

MYSQL = (
    COMMON
    + r"""
;;
CREATE TABLE modern (id int PRIMARY KEY, tags json, v int, KEY tag ((CAST(tags -> '$[*]' AS UNSIGNED ARRAY))),
  KEY expr ((v + 1)), KEY gone (v) INVISIBLE, KEY down (v DESC),
  d varbinary(16) DEFAULT (uuid_to_bin('123e4567-e89b-12d3-a456-426614174000')))
;;
INSERT INTO modern (id, tags, v) VALUES (1, '[1, 2]', 3), (2, '[]', NULL)
;;
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'
;;
CREATE FUNCTION slash() RETURNS text DETERMINISTIC RETURN 'a\'
;;
SET SESSION sql_mode = ''
"""
)
SCRIPTS = {"mariadb": MARIADB, "mysql": MYSQL}
