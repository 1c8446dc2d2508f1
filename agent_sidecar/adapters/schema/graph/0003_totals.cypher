// One node that holds the totals of all evidence; writers queue on it, so it must be there first.
MERGE (e:Evidence {name: 'all'}) ON CREATE SET e.revision = 0, e.calls = 0, e.transferred = 0;
