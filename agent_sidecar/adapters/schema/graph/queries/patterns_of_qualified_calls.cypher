// How effective the patterns of qualified calls were, by their type; one pattern counts once.
MATCH (l:Lead)-[:HAD_CALL]->(c:Call)-[:EXHIBITED_PATTERN]->(p:Pattern)
WHERE c.source IN ['live', 'import'] AND c.qualified = true
WITH DISTINCT p
RETURN p.type AS pattern, avg(p.effectiveness) AS mean_effectiveness
ORDER BY mean_effectiveness DESC, pattern;
