package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/ticket"
)

// mostOffline is how long a challenge may wait for a machine that somebody walks to.
const mostOffline = 14 * 24 * time.Hour

// Offline asks a machine for evidence that a person brings, from a boot stick or a
// scan without a network. The answer may take longer than over the network.
func (s *Server) Offline(ctx context.Context, by Who, host string, answer time.Duration) (*fleet.Challenge, error) {
	switch {
	case !by.May(fleet.Operator):
		return nil, refuse(Forbidden, "an operator may ask for an audit")
	case answer <= 0 || answer > mostOffline:
		return nil, refuse(Invalid, "a challenge waits at most %d days", int(mostOffline.Hours()/24))
	}
	c, err := s.challenge(ctx, host, answer)
	if err != nil {
		return nil, err
	}
	return c, s.Store.Update(ctx, func(tx fleet.Tx) error {
		_, err := tx.Append(auditlog.Entry{At: c.Issued, Actor: by.Name, Action: "audit offline", Subject: host, Detail: "until " + c.Deadline.Format(time.RFC3339)})
		return err
	})
}

// Record is what an inventory of the site says of a machine, which is found by its
// id, its serial number or its UUID.
type Record struct {
	ID     string `json:"id,omitempty" maxLength:"64"`
	Serial string `json:"serial,omitempty" maxLength:"200"`
	UUID   string `json:"uuid,omitempty" maxLength:"64"`
	Name   string `json:"name,omitempty" maxLength:"200"`
	Site   string `json:"site,omitempty" maxLength:"200"`
	Lot    string `json:"lot,omitempty" maxLength:"200"`
}

// Imported is what became of one record.
type Imported struct {
	Host string `json:"host,omitempty"`
	Why  string `json:"why,omitempty"` // it was not used
}

// Import gives machines the names, sites and lots of a site's inventory. It says
// what became of each record, in their order. A site that a signed ticket says
// stays.
func (s *Server) Import(ctx context.Context, by Who, records []Record) ([]Imported, error) {
	if !by.May(fleet.Operator) {
		return nil, refuse(Forbidden, "an operator may import an inventory")
	}
	out := make([]Imported, len(records))
	return out, s.Store.Update(ctx, func(tx fleet.Tx) error {
		changed := 0
		for i, r := range records {
			h, why, err := lookup(tx, r)
			if err != nil {
				return err
			}
			if h != nil && h.Placed != "" && r.Site != "" && r.Site != h.Site {
				h, why = nil, "a signed ticket says that the machine is at "+h.Site
			}
			out[i] = Imported{Why: why}
			if h == nil {
				continue
			}
			out[i].Host = h.ID
			for to, v := range map[*string]string{&h.Name: r.Name, &h.Site: r.Site, &h.Lot: r.Lot} {
				if v != "" {
					*to = v
				}
			}
			changed++
			if err := tx.PutHost(h); err != nil {
				return err
			}
		}
		_, err := tx.Append(auditlog.Entry{At: s.now(), Actor: by.Name, Action: "import", Subject: fmt.Sprintf("%d machines", changed)})
		return err
	})
}

func lookup(tx fleet.Tx, r Record) (h *fleet.Host, why string, err error) {
	if r.ID != "" {
		h, err = tx.Host(r.ID)
		if refusal := found("the machine", err); refusal != err {
			return nil, "no machine has this id", nil
		}
		return h, "", err
	}
	ids := map[string]bool{}
	for kind, v := range map[string]string{"uuid": strings.ToLower(r.UUID), "serial": strings.ToUpper(r.Serial)} {
		if v == "" {
			continue
		}
		all, err := sharing(tx, kind, v)
		if err != nil {
			return nil, "", err
		}
		for _, f := range all {
			ids[f.Host] = true
		}
	}
	switch len(ids) {
	case 0:
		return nil, "no machine has this serial number or UUID", nil
	case 1:
		for id := range ids {
			h, err = tx.Host(id)
		}
		return h, "", err
	}
	return nil, fmt.Sprintf("%d machines have this serial number or UUID", len(ids)), nil
}

// sharing finds who has a number. A serial number is kept with its maker's name,
// which an inventory may not have.
func sharing(tx fleet.Tx, kind, v string) ([]fleet.Fact, error) {
	if kind != "serial" {
		return tx.Sharing(kind, v, 20)
	}
	hosts, err := tx.Hosts(fleet.HostQuery{Serial: v, Limit: 100})
	if err != nil {
		return nil, err
	}
	var out []fleet.Fact
	for _, h := range hosts {
		if h.State != fleet.Retired {
			out = append(out, fleet.Fact{Kind: kind, Value: v, Host: h.ID})
		}
	}
	return out, nil
}

// RetireDocument takes a document out of use. What only adds findings may be taken
// away by an approver; a policy goes only when a newer one comes (G20).
func (s *Server) RetireDocument(ctx context.Context, by Who, digest string) error {
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		d, err := tx.Document(digest)
		if err != nil {
			return found("the document", err)
		}
		switch {
		case d.Kind == string(ticket.Policy):
			return refuse(Forbidden, "%s: a policy is replaced by a newer one that is signed, and not taken away", finding.PolicyLowered)
		case d.Kind == "golden" && !by.May(fleet.Operator), d.Kind != "golden" && !by.May(fleet.Approver):
			return refuse(Forbidden, "an operator may retire a manifest, an approver another document")
		case !d.Retired.IsZero():
			return refuse(Conflict, "it was retired at %s", d.Retired.Format(time.RFC3339))
		}
		d.Retired = s.now()
		if _, err := tx.Append(auditlog.Entry{At: d.Retired, Actor: by.Name, Action: "retire " + d.Kind, Subject: d.Digest, Detail: d.Name}); err != nil {
			return err
		}
		return tx.PutDocument(d)
	})
}

// Attestation reads the Attestation Result that belongs to a result.
func (s *Server) Attestation(ctx context.Context, id string) (json.RawMessage, error) {
	var r *fleet.Result
	err := s.Store.View(ctx, func(rd fleet.Reader) (err error) {
		r, err = rd.Result(id)
		return err
	})
	if err != nil {
		return nil, found("the result", err)
	}
	return s.Blobs.Get(ctx, r.Blob)
}
