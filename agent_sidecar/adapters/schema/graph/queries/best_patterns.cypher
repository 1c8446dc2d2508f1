// The patterns worth repeating: more than 7 of 10 over all calls, most often seen in qualified ones.
MATCH (c:Call)-[:EXHIBITED_PATTERN]->(p:Pattern)
WHERE c.source IN ['live', 'import'] AND c.qualified = true AND p.effectiveness > 7.0
RETURN p.id AS pattern, p.type AS type, p.effectiveness AS effectiveness, count(c) AS frequency
ORDER BY frequency DESC, effectiveness DESC, pattern
LIMIT 10;
