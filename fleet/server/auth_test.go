package server

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
)

func TestPeople(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	require.NoError(t, s.AddPerson(ctx, "setup", "ann", fleet.Operator, "correct horse battery"))
	for name, pw := range map[string]string{"ann": "wrong horse battery", "bob": "correct horse battery", "token:ann": "x", "server:sessions": "x", "": ""} {
		_, _, err := s.Login(ctx, name, pw)
		require.ErrorIs(t, err, ErrUnknown, name)
	}
	session, w, err := s.Login(ctx, "ann", "correct horse battery")
	require.NoError(t, err)
	require.True(t, w.May(fleet.Viewer) && w.May(fleet.Operator))
	require.False(t, w.May(fleet.Approver))
	got, err := s.Session(ctx, session)
	require.NoError(t, err)
	require.Equal(t, w, got)
	for _, forged := range []string{"", "x", session + "0", strings.Replace(session, "ann", "bob", 1), "9" + session, strings.Replace(session, ".ann.", ".server:sessions.", 1)} {
		_, err = s.Session(ctx, forged)
		require.ErrorIs(t, err, ErrUnknown, forged)
	}
	require.NoError(t, s.AddPerson(ctx, "ann", "ann", fleet.Operator, "another password"))
	_, err = s.Session(ctx, session)
	require.ErrorIs(t, err, ErrUnknown, "another password ends sessions")
	session, _, err = s.Login(ctx, "ann", "another password")
	require.NoError(t, err)
	s.clock = s.clock.Add(13 * time.Hour)
	_, err = s.Session(ctx, session)
	require.ErrorIs(t, err, ErrUnknown)
	session, _, err = s.Login(ctx, "ann", "another password")
	require.NoError(t, err)
	require.NoError(t, s.Disable(ctx, "bob", "ann"))
	_, err = s.Session(ctx, session)
	require.ErrorIs(t, err, ErrUnknown)
	for _, bad := range []struct{ name, role, pw string }{{"a b", "viewer", "long enough password"}, {"ann", "root", "long enough password"}, {"ann", "viewer", "short"}, {"ann", "", "long enough password"}} {
		require.Error(t, s.AddPerson(ctx, "setup", bad.name, fleet.Role(bad.role), bad.pw))
	}
}

func TestTokens(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	token, err := s.AddToken(ctx, "ann", "rack-7", s.clock.Add(time.Hour))
	require.NoError(t, err)
	w, err := s.Token(ctx, token)
	require.NoError(t, err)
	require.Equal(t, &Who{Name: "token:rack-7"}, w)
	require.False(t, w.May(fleet.Viewer), "a token reads nothing")
	for _, forged := range []string{"", token + "x", strings.Replace(token, "rack-7", "rack-8", 1), "assay-token.", "assay-token.ann.x"} {
		_, err = s.Token(ctx, forged)
		require.ErrorIs(t, err, ErrUnknown)
	}
	s.clock = s.clock.Add(2 * time.Hour)
	_, err = s.Token(ctx, token)
	require.ErrorIs(t, err, ErrUnknown)
}
