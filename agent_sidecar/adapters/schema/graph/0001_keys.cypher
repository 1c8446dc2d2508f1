// Natural keys: everything is merged on one of these, so applying a record again changes nothing.
CREATE CONSTRAINT lead_id IF NOT EXISTS FOR (l:Lead) REQUIRE l.id IS UNIQUE;
CREATE CONSTRAINT lead_id_unique IF NOT EXISTS FOR (l:Lead) REQUIRE l.leadId IS UNIQUE;
CREATE CONSTRAINT call_id IF NOT EXISTS FOR (c:Call) REQUIRE c.id IS UNIQUE;
CREATE CONSTRAINT conversation_id_unique IF NOT EXISTS FOR (c:Conversation) REQUIRE c.callId IS UNIQUE;
CREATE CONSTRAINT objection_type IF NOT EXISTS FOR (o:Objection) REQUIRE o.type IS UNIQUE;
CREATE CONSTRAINT phase_number IF NOT EXISTS FOR (p:Phase) REQUIRE p.number IS UNIQUE;
CREATE CONSTRAINT kind_scope IF NOT EXISTS FOR (k:Kind) REQUIRE k.scope IS UNIQUE;
CREATE CONSTRAINT strategy_name IF NOT EXISTS FOR (s:Strategy) REQUIRE s.name IS UNIQUE;
CREATE CONSTRAINT pattern_id IF NOT EXISTS FOR (p:Pattern) REQUIRE p.id IS UNIQUE;
CREATE CONSTRAINT outcome_type IF NOT EXISTS FOR (o:Outcome) REQUIRE o.type IS UNIQUE;
CREATE CONSTRAINT kevin_name IF NOT EXISTS FOR (k:Kevin) REQUIRE k.name IS UNIQUE;

CREATE CONSTRAINT evidence_name IF NOT EXISTS FOR (e:Evidence) REQUIRE e.name IS UNIQUE;
