-- +goose Up
-- Times are microseconds since 1970, UTC. doc is the whole record as JSON; the
-- columns beside it are what is searched. BYTEA is a name that both engines take.
CREATE TABLE host (
    id TEXT PRIMARY KEY,
    ek TEXT NOT NULL,
    name TEXT NOT NULL,
    site TEXT NOT NULL,
    state TEXT NOT NULL,
    mode TEXT NOT NULL,
    profile TEXT NOT NULL,
    search TEXT NOT NULL,
    next_due BIGINT NOT NULL,
    last_attested BIGINT NOT NULL,
    since BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX host_ek ON host (ek) WHERE ek <> '';
CREATE INDEX host_due ON host (mode, next_due) WHERE state <> 'retired';
CREATE INDEX host_name ON host (name, id);
CREATE INDEX host_state ON host (state, name, id);
CREATE INDEX host_attested ON host (last_attested, id);
CREATE INDEX host_since ON host (since, id);
CREATE INDEX host_profile ON host (profile, name, id);
CREATE INDEX host_site ON host (site, name, id);

CREATE TABLE challenge (
    nonce BYTEA PRIMARY KEY,
    host TEXT NOT NULL,
    issued BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    data BYTEA NOT NULL
);
CREATE INDEX challenge_deadline ON challenge (deadline);

CREATE TABLE evidence (
    digest TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    received BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX evidence_received ON evidence (received);

CREATE TABLE finding (
    host TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    code TEXT NOT NULL,
    rank INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (host, fingerprint)
);
CREATE INDEX finding_rank ON finding (rank, host, fingerprint);
CREATE INDEX finding_code ON finding (code, host);

CREATE TABLE fact (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    host TEXT NOT NULL,
    PRIMARY KEY (kind, value, host)
);
CREATE INDEX fact_host ON fact (host);

CREATE TABLE host_feature (
    host TEXT NOT NULL,
    profile TEXT NOT NULL,
    feature TEXT NOT NULL,
    PRIMARY KEY (host, feature)
);
CREATE INDEX host_feature_by ON host_feature (profile, feature, host);

CREATE TABLE feature (
    profile TEXT NOT NULL,
    feature TEXT NOT NULL,
    hosts BIGINT NOT NULL,
    PRIMARY KEY (profile, feature)
);

CREATE TABLE profile (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hosts BIGINT NOT NULL
);

CREATE TABLE document (
    digest TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    retired BIGINT NOT NULL,
    doc TEXT NOT NULL,
    raw BYTEA NOT NULL
);
CREATE INDEX document_kind ON document (kind, retired);

CREATE TABLE exception (
    id TEXT PRIMARY KEY,
    expires BIGINT NOT NULL,
    doc TEXT NOT NULL
);

CREATE TABLE account (
    name TEXT PRIMARY KEY,
    doc TEXT NOT NULL,
    secret BYTEA NOT NULL
);

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    doc TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- One row, locked by whoever appends to the audit log.
CREATE TABLE audit_head (
    one INTEGER PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');

-- +goose Down
DROP TABLE audit_head;
DROP TABLE audit;
DROP TABLE account;
DROP TABLE exception;
DROP TABLE document;
DROP TABLE profile;
DROP TABLE feature;
DROP TABLE host_feature;
DROP TABLE fact;
DROP TABLE finding;
DROP TABLE evidence;
DROP TABLE challenge;
DROP TABLE host;
