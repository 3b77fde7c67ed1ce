CREATE TABLE item(id INTEGER PRIMARY KEY, kind INTEGER, price INTEGER, name TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, item INTEGER, amount INTEGER, day INTEGER);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)
INSERT INTO item SELECT i, i * 7919 % 97, i * 104729 % 9973, 'item ' || (i * 31 % 10007) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
INSERT INTO sale SELECT i, i * 15485863 % 15000 + 1, i % 13 + 1, i * 17 % 365 FROM n;
COMMIT;
CREATE INDEX sale_item ON sale(item);
CREATE INDEX item_name ON item(name);
SELECT kind, count(*), sum(amount * price), min(day), max(day) FROM sale JOIN item ON item.id = sale.item GROUP BY kind ORDER BY 3 DESC LIMIT 10;
SELECT day, count(DISTINCT item) FROM sale WHERE day BETWEEN 100 AND 160 GROUP BY day ORDER BY day LIMIT 20;
SELECT a.name, count(*) FROM item a JOIN item b ON a.name = b.name AND a.id < b.id GROUP BY a.name ORDER BY 2 DESC, 1 LIMIT 10;
UPDATE item SET price = price + (SELECT coalesce(sum(amount), 0) FROM sale WHERE sale.item = item.id);
DELETE FROM sale WHERE day % 7 = 3;
SELECT sum(price), max(name) FROM item WHERE name LIKE '%7%';
SELECT count(*), sum(amount) FROM sale;
