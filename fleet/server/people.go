package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// Two people make an exception. Whoever gives a password to an account can be that
// account too, so that two accounts of which one was given by the other may be one
// person. The server remembers who gave, until a third person says that the account
// is somebody else's.

// longestChain bounds a walk from an account to who gave it.
const longestChain = 100

// givenBy has an account keep who gave it. A person's own new password changes
// nothing of that.
func givenBy(tx fleet.Tx, a *fleet.Account) error {
	old, err := tx.Account(a.Name)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		if a.By == firstStart {
			a.By = ""
		}
		return nil
	case err != nil:
		return err
	case a.By == a.Name:
		a.By = old.By
	}
	a.Ended = old.Ended
	return nil
}

// givers are those who gave an account, one after the other.
func givers(tx fleet.Reader, name string) ([]string, error) {
	var out []string
	for range longestChain {
		a, err := tx.Account(name)
		if errors.Is(err, fleet.ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if a.By == "" {
			return out, nil
		}
		out, name = append(out, a.By), a.By
	}
	return out, nil
}

// oneBehind is who gave the other of two accounts, "" when neither did.
func oneBehind(tx fleet.Reader, a, b string) (string, error) {
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		gs, err := givers(tx, pair[1])
		if err != nil {
			return "", err
		}
		for _, g := range gs {
			if g == pair[0] {
				return g, nil
			}
		}
	}
	return "", nil
}

// Vouch says that an account is in the hands of whom it names. An approver may who
// did not give it, nor was given by it.
func (s *Server) Vouch(ctx context.Context, by Who, name string) error {
	if !by.May(fleet.Approver) {
		return refuse(Forbidden, "an approver may vouch for an account")
	}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		a, err := tx.Account(name)
		if err != nil {
			return found("the account", err)
		}
		one, err := oneBehind(tx, by.Name, name)
		switch {
		case err != nil:
			return err
		case name == by.Name:
			return refuse(Forbidden, "nobody vouches for the account that is in use")
		case one != "":
			return refuse(Forbidden, "%s gave the password to one of %s and %s: a third person has to vouch", one, by.Name, name)
		case a.By == "":
			return refuse(Conflict, "nobody else knows the password of %s, as far as the server was told", name)
		}
		if _, err := tx.Append(auditlog.Entry{At: s.now(), Actor: by.Name, Action: "vouch", Subject: name, Detail: "given by " + a.By}); err != nil {
			return err
		}
		a.By = ""
		return tx.PutAccount(a)
	})
}

// abuse tells of exceptions behind which there may be one person (PO-003).
func abuse(exceptions []fleet.Exception, covered []fleet.Open) []finding.Finding {
	used := map[string]bool{}
	for _, o := range covered {
		used[o.Exception] = true
	}
	var out []finding.Finding
	for _, x := range exceptions {
		if x.OneBehind == "" || !used[x.ID] {
			continue
		}
		f := finding.New(finding.ExceptionAbuse, "fleet:exception:"+x.ID)
		f.Severity, f.Confidence = finding.Medium, finding.Proven
		f.Want, f.Got = "two people", fmt.Sprintf("asked by %s, granted by %s", x.Asked, x.Approved)
		f.Why = fmt.Sprintf("%s knows the passwords of both accounts, and nobody else has vouched for the other one; %s of %s is covered by this exception.", x.OneBehind, x.Code, x.Subject)
		out = append(out, f)
	}
	return out
}
