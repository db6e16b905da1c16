package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

const passphrase = "a long enough password"

// grant has a machine's missing DIMM accepted for a day.
func (s *site) grant(asks, grants Who) {
	s.t.Helper()
	var x *fleet.Exception
	for _, o := range s.open("h1") {
		if o.Finding.Severity < finding.Medium || o.Exception != "" || o.Finding.Code == finding.ExceptionAbuse {
			continue
		}
		var err error
		x, err = s.AskException(s.t.Context(), asks, fleet.Exception{Code: o.Finding.Code, Subject: o.Finding.Subject, Host: "h1", Reason: "goes back to the vendor", Expires: s.clock.Add(72 * time.Hour)})
		require.NoError(s.t, err)
		require.NoError(s.t, s.Approve(s.t.Context(), grants, x.ID))
	}
	require.NotNil(s.t, x)
}

// G19, F27: who can be both of two people is seen at each machine that the two
// accepted something for.
func TestTwoPeopleAreTwo(t *testing.T) {
	anna, puppet, third := Who{"anna", fleet.Approver}, Who{"otto", fleet.Operator}, Who{"third", fleet.Approver}
	tests := map[string]struct {
		asks, grants Who
		given        map[string]string // account to who gave its password
		vouches      bool
		want         fleet.State
	}{
		"two people":                         {puppet, anna, map[string]string{"otto": "third", "anna": "first start"}, false, fleet.Pass},
		"who grants gave the other account":  {puppet, anna, map[string]string{"otto": "anna"}, false, fleet.Review},
		"who asks gave the other account":    {anna, third, map[string]string{"third": "anna"}, false, fleet.Review},
		"through an account between":         {puppet, anna, map[string]string{"between": "anna", "otto": "between"}, false, fleet.Review},
		"a third person vouched":             {puppet, anna, map[string]string{"otto": "anna"}, true, fleet.Pass},
		"accounts that nobody here has made": {Who{"oidc:o", fleet.Operator}, Who{"oidc:a", fleet.Approver}, nil, false, fleet.Pass},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.host()
			for _, name := range []string{"between", "otto", "anna", "third"} {
				if by := tt.given[name]; by != "" {
					require.NoError(t, s.AddPerson(t.Context(), by, name, fleet.Approver, passphrase))
				}
			}
			if tt.vouches {
				require.Error(t, s.Vouch(t.Context(), anna, "otto"), "who gave the account does not vouch for it")
				require.Error(t, s.Vouch(t.Context(), puppet, "otto"))
				require.NoError(t, s.Vouch(t.Context(), third, "otto"))
			}
			h, _ := s.audit("h1", "missing-dimm")
			require.Equal(t, fleet.Fail, h.State)
			s.grant(tt.asks, tt.grants)
			s.clock = s.clock.Add(24 * time.Hour)
			h, r := s.audit("h1", "missing-dimm")
			require.Equal(t, tt.want, h.State, "%+v", r.Fleet)
			if tt.want == fleet.Review {
				require.Equal(t, finding.ExceptionAbuse, r.Fleet[0].Code)
			}
		})
	}
}

// A person's new password leaves it open who gave the account; another one's gives
// it again.
func TestWhoGaveAnAccount(t *testing.T) {
	s := newSite(t)
	given := func() string {
		var a *fleet.Account
		require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { a, err = r.Account("otto"); return err }))
		return a.By
	}
	require.NoError(t, s.AddPerson(t.Context(), "anna", "otto", fleet.Operator, passphrase))
	require.NoError(t, s.AddPerson(t.Context(), "otto", "otto", fleet.Operator, passphrase+"!"))
	require.Equal(t, "anna", given())
	require.NoError(t, s.Vouch(t.Context(), Who{"third", fleet.Approver}, "otto"))
	require.Empty(t, given())
	require.Error(t, s.Vouch(t.Context(), Who{"third", fleet.Approver}, "otto"), "there is nothing to vouch for")
	require.NoError(t, s.AddPerson(t.Context(), "third", "otto", fleet.Operator, passphrase))
	require.Equal(t, "third", given())
	_, err := s.AskException(t.Context(), Who{"otto", fleet.Operator}, fleet.Exception{Code: finding.ExceptionAbuse, Subject: "fleet:exception:x-1", Host: "h1", Reason: "r", Expires: s.clock.Add(time.Hour)})
	require.Error(t, err, "an exception for the misuse of exceptions")
}

func TestLogoutEndsEverySession(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.AddPerson(t.Context(), "anna", "otto", fleet.Operator, passphrase))
	var sessions []string
	for range 2 {
		in, _, err := s.Login(t.Context(), "otto", passphrase)
		require.NoError(t, err)
		sessions = append(sessions, in)
	}
	w, err := s.Session(t.Context(), sessions[0])
	require.NoError(t, err)
	require.NoError(t, s.Logout(t.Context(), *w))
	for _, in := range sessions {
		_, err := s.Session(t.Context(), in)
		require.ErrorIs(t, err, ErrUnknown)
	}
	in, _, err := s.Login(t.Context(), "otto", passphrase)
	require.NoError(t, err)
	_, err = s.Session(t.Context(), in)
	require.NoError(t, err)
	require.NoError(t, s.AddPerson(t.Context(), "anna", "otto", fleet.Operator, passphrase+"!"))
	_, err = s.Session(t.Context(), sessions[0])
	require.ErrorIs(t, err, ErrUnknown, "another password brings no old session back")
}
