package server

import (
	"crypto/x509"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/ticket"
)

var operator = Who{"otto", fleet.Operator}

// ticket signs one with the key of the site's owner.
func (s *site) ticket(kind string, more map[string]any) []byte {
	s.t.Helper()
	return s.ticketBy(s.owner, kind, more)
}

func (s *site) ticketBy(by signer, kind string, more map[string]any) []byte {
	s.t.Helper()
	doc := map[string]any{"format": ticket.Format, "kind": kind, "id": "CHG-1", "reason": "a test", "issuedAt": s.clock, "expires": s.clock.Add(48 * time.Hour)}
	maps.Copy(doc, more)
	raw, err := json.Marshal(doc)
	require.NoError(s.t, err)
	signed, err := ticket.Sign(raw, by.key, []*x509.Certificate{by.cert})
	require.NoError(s.t, err)
	return signed
}

func (s *site) give(raw []byte) {
	s.t.Helper()
	_, err := s.AddDocument(s.t.Context(), operator, raw)
	require.NoError(s.t, err)
}

func (s *site) refused(raw []byte, want Status, words string) {
	s.t.Helper()
	_, err := s.AddDocument(s.t.Context(), operator, raw)
	var r *Refusal
	require.ErrorAs(s.t, err, &r)
	require.Equal(s.t, want, r.Status, r.Reason)
	require.Contains(s.t, r.Reason, words)
}

// G20: by what machines are judged is signed by somebody with the right to it, does
// not go back, and stands in each result.
func TestG20PolicyDowngrade(t *testing.T) {
	s := newSite(t)
	s.host()
	strict := map[string]any{"policy": "id: site-strict\nextends: strict\n"}
	weak := map[string]any{"policy": "id: site-weak\nextends: inventory\n"}
	s.refused(s.ticketBy(s.vendor, "policy", weak), Forbidden, "ticket")
	s.refused(s.ticketBy(newSigner(t, "Site Operators"), "policy", weak), Forbidden, "")
	raw, err := json.Marshal(map[string]any{"format": ticket.Format, "kind": "policy", "id": "x", "reason": "x", "issuedAt": s.clock, "expires": s.clock.Add(time.Hour), "policy": "id: x\nextends: inventory\n"})
	require.NoError(t, err)
	s.refused(raw, Forbidden, "envelope")
	older := s.ticket("policy", weak)

	s.clock = s.clock.Add(time.Minute)
	s.give(s.ticket("policy", strict))
	s.refused(older, Conflict, "MF-006")
	h, r := s.audit("h1", "baseline")
	require.Equal(t, fleet.Inconclusive, h.State, "%+v", r.Fleet)
	require.Contains(t, s.result(r), `"id": "site-strict"`)

	s.clock = s.clock.Add(24 * time.Hour)
	s.give(s.ticket("policy", map[string]any{"host": "h1", "policy": "id: bench\nextends: default\n"}))
	h, r = s.audit("h1", "baseline-reboot")
	require.Equal(t, fleet.Pass, h.State)
	require.Contains(t, s.result(r), `"id": "bench"`, "the one for the machine counts")

	s.clock = s.clock.Add(240 * time.Hour) // the tickets cannot be used any more: what they did stays
	_, r = s.audit("h1", "baseline-reboot")
	require.Contains(t, s.result(r), `"id": "bench"`)

	// Whoever writes to the database writes no signature.
	s.update(func(tx fleet.Tx) error {
		raw := s.ticketBy(s.vendor, "policy", map[string]any{"host": "h1", "policy": "id: mine\nextends: inventory\n"})
		docs, err := tx.Documents("policy")
		require.NoError(t, err)
		for _, d := range docs {
			d.Retired = s.clock
			require.NoError(t, tx.PutDocument(&d))
		}
		return tx.PutDocument(&fleet.Document{Digest: digestOf(raw), Kind: "policy", Name: "host:h1", Version: s.clock.Unix(), Raw: raw})
	})
	require.Error(t, s.Store.View(t.Context(), func(rd fleet.Reader) error {
		_, err := s.policyOf(rd, h, s.clock)
		return err
	}))
}

// G04: a machine gets another TPM by a ticket that somebody signed, for these keys
// and this chassis, once; nobody else's machine is touched.
func TestG04RebindByTicket(t *testing.T) {
	s := newSite(t)
	h := s.host()
	s.update(func(tx fleet.Tx) error {
		require.NoError(t, tx.PutFacts("h1", identityFacts(h.Identity)))
		other := &fleet.Host{ID: "h2", Name: "node-2", State: fleet.Pass, NextDue: s.clock, Identity: fleet.Identity{EKSHA256: digestOf([]byte("2")), AKName: "02"}}
		require.NoError(t, tx.PutHost(other))
		return tx.PutFacts("h2", identityFacts(other.Identity))
	})
	fresh := fleet.Identity{EKSHA256: digestOf([]byte("new TPM")), AKName: "0b", Chassis: h.Identity.Chassis}
	claim := func(i fleet.Identity) (out *fleet.Host) {
		t.Helper()
		s.update(func(tx fleet.Tx) (err error) {
			known, conflict, err := s.bind(tx, i)
			require.NoError(t, err)
			require.Nil(t, known)
			require.NotEmpty(t, conflict)
			out, err = s.rebound(tx, i, s.clock)
			return err
		})
		return out
	}
	require.Nil(t, claim(fresh), "nobody signed anything")
	s.refused(s.ticketBy(s.vendor, "rebind", map[string]any{"host": "h1", "identity": ticket.Identity{EKSHA256: fresh.EKSHA256, Chassis: fresh.Chassis}}), Forbidden, "")
	s.give(s.ticket("rebind", map[string]any{"host": "h1", "identity": ticket.Identity{EKSHA256: fresh.EKSHA256, Chassis: fresh.Chassis}}))
	stranger := fresh
	stranger.EKSHA256 = digestOf([]byte("another TPM"))
	require.Nil(t, claim(stranger), "another TPM than the ticket says")
	stranger = fresh
	stranger.UUID = "11111111-2222-3333-4444-555555555555"
	require.Nil(t, claim(stranger), "another chassis than the ticket says")

	got := claim(fresh)
	require.NotNil(t, got)
	require.Equal(t, "h1", got.ID)
	require.Equal(t, fleet.Enrolled, got.State, "it was attested as another one")
	require.Equal(t, fresh, got.Identity)
	require.Nil(t, claim(h.Identity), "the ticket is used, and the old TPM is a stranger")

	s.clock = s.clock.Add(time.Minute)
	s.give(s.ticket("rebind", map[string]any{"host": "h1", "identity": ticket.Identity{EKSHA256: digestOf([]byte("2")), Chassis: fresh.Chassis}}))
	require.Nil(t, claim(fleet.Identity{EKSHA256: digestOf([]byte("2")), AKName: "02", Chassis: fresh.Chassis}), "the TPM of a machine that is known")

	s.clock = s.clock.Add(time.Minute)
	last := fleet.Identity{EKSHA256: digestOf([]byte("3")), AKName: "03", Chassis: fresh.Chassis}
	s.give(s.ticket("rebind", map[string]any{"host": "h1", "identity": ticket.Identity{EKSHA256: last.EKSHA256, Chassis: fresh.Chassis}}))
	s.clock = s.clock.Add(49 * time.Hour)
	require.Nil(t, claim(last), "the ticket has ended")
}

func digestOf(raw []byte) string { return blob.Digest(raw) }

// result is the Attestation Result as it is stored.
func (s *site) result(r *fleet.Result) string {
	s.t.Helper()
	raw, err := s.Blobs.Get(s.t.Context(), r.Blob)
	require.NoError(s.t, err)
	return string(raw)
}
