// Which objections keen prospects raise: those of calls that ended above 80 of 100.
MATCH (c:Conversation)-[:ENCOUNTERED_OBJECTION]->(o:Objection)
WHERE c.source IN ['live', 'import'] AND c.final_engagement_score > 80
WITH DISTINCT o, c
RETURN o.type AS objection, avg(c.final_engagement_score) AS mean_engagement, count(c) AS calls
ORDER BY calls DESC, objection;
