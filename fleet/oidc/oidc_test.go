package oidc

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/sqlite"
)

// provider is one that vouches for one person: it signs real tokens, and wants the
// proof key that the login began with.
type provider struct {
	*httptest.Server
	key    *rsa.PrivateKey
	signer *rsa.PrivateKey // another key, for tokens that it did not make
	claims map[string]any
	asked  url.Values // of the last login
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p := &provider{key: key, signer: key, claims: map[string]any{}}
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		require.NoError(t, json.NewEncoder(w).Encode(v))
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		p.asked = r.URL.Query()
		http.Redirect(w, r, p.asked.Get("redirect_uri")+"?"+url.Values{"state": {p.asked.Get("state")}, "code": {"code-1"}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if r.FormValue("code") != "code-1" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.asked.Get("code_challenge") {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": p.token(t)})
	})
	return p
}

func (p *provider) token(t *testing.T) string {
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "aud": "assay", "sub": "1234", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "nonce": p.asked.Get("nonce"), "preferred_username": "anna", "groups": []string{"staff", "assay-approvers"}}
	maps.Copy(claims, p.claims)
	raw, err := json.Marshal(claims)
	require.NoError(t, err)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.signer, KeyID: "1"}}, nil)
	require.NoError(t, err)
	sig, err := s.Sign(raw)
	require.NoError(t, err)
	out, err := sig.CompactSerialize()
	require.NoError(t, err)
	return out
}

// site is a server that lets people in by the provider.
type site struct {
	t      *testing.T
	server *server.Server
	url    string
}

func newSite(t *testing.T, p *provider) *site {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fleet.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	blobs, err := blob.OpenDirectory(t.TempDir())
	require.NoError(t, err)
	s := &site{t: t, server: server.New(server.Config{Store: st, Blobs: blobs})}
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s.url = web.URL
	api.New(mux, s.server, "test")
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "home") })
	c := configured(t, p.URL, web.URL)
	require.NoError(t, Handle(t.Context(), mux, s.server, c))
	return s
}

func configured(t *testing.T, issuer, at string) *Config {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("a secret\n"), 0o600))
	name := filepath.Join(dir, "oidc.yaml")
	text := "issuer: " + issuer + "\nclientId: assay\nclientSecretFile: secret\nurl: " + at + "\nroles: {viewer: staff, approver: assay-approvers}\n"
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	c, err := Read(name)
	require.NoError(t, err)
	return c
}

// visit logs in with a browser of its own, and gives the status of the last page
// and the session.
func (s *site) visit() (int, string) {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	c := &http.Client{Jar: jar}
	res, err := c.Get(s.url + "/login/oidc")
	require.NoError(s.t, err)
	require.NoError(s.t, res.Body.Close())
	u, err := url.Parse(s.url)
	require.NoError(s.t, err)
	for _, x := range jar.Cookies(u) {
		if x.Name == api.SessionCookie {
			return res.StatusCode, x.Value
		}
	}
	return res.StatusCode, ""
}

func TestLogin(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, p)
	code, session := s.visit()
	require.Equal(t, http.StatusOK, code)
	who, err := s.server.Session(t.Context(), session)
	require.NoError(t, err)
	require.Equal(t, server.Who{Name: "oidc:anna", Role: fleet.Approver}, *who)

	p.claims["groups"] = "staff" // she was taken out of the group
	_, session = s.visit()
	who, err = s.server.Session(t.Context(), session)
	require.NoError(t, err)
	require.Equal(t, fleet.Viewer, who.Role)

	require.NoError(t, s.server.Disable(t.Context(), "otto", "oidc:anna"))
	code, session = s.visit()
	require.Equal(t, http.StatusForbidden, code)
	require.Empty(t, session)
}

func TestWhoIsNotLetIn(t *testing.T) {
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for name, edit := range map[string]func(*provider){
		"in no group":               func(p *provider) { p.claims["groups"] = []string{"guests"} },
		"no groups":                 func(p *provider) { p.claims["groups"] = nil },
		"no name":                   func(p *provider) { p.claims["preferred_username"] = "" },
		"a name with markup":        func(p *provider) { p.claims["preferred_username"] = "<b>anna" },
		"a name with a prefix":      func(p *provider) { p.claims["preferred_username"] = "x:admin" },
		"a token for somebody else": func(p *provider) { p.claims["aud"] = "other" },
		"an old token":              func(p *provider) { p.claims["exp"] = time.Now().Add(-time.Hour).Unix() },
		"a token of another login":  func(p *provider) { p.claims["nonce"] = "another" },
		"another issuer":            func(p *provider) { p.claims["iss"] = "https://other.example" },
		"another key":               func(p *provider) { p.signer = stranger },
	} {
		p := newProvider(t)
		edit(p)
		code, session := newSite(t, p).visit()
		require.Equal(t, http.StatusForbidden, code, name)
		require.Empty(t, session, name)
	}
}

// Another person who was given the name of somebody is not that person.
func TestANameIsNoIdentity(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, p)
	code, _ := s.visit()
	require.Equal(t, http.StatusOK, code)
	p.claims["sub"] = "5678"
	code, session := s.visit()
	require.Equal(t, http.StatusForbidden, code)
	require.Empty(t, session)
}

// Somebody else's answer, which a link brings, logs nobody in.
func TestAnAnswerWithoutABeginning(t *testing.T) {
	p := newProvider(t)
	s := newSite(t, p)
	for _, q := range []string{"", "?state=x&code=code-1", "?error=access_denied"} {
		res, err := http.Get(s.url + "/login/oidc/callback" + q)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusForbidden, res.StatusCode)
	}
}

func TestConfigurationsThatAreWrong(t *testing.T) {
	for want, text := range map[string]string{
		"issuer":             "issuer: http://idp.example\nclientId: a\nurl: https://x.example\nroles: {viewer: a}\n",
		"url":                "issuer: https://idp.example\nclientId: a\nroles: {viewer: a}\n",
		"clientId and roles": "issuer: https://idp.example\nurl: https://x.example\nclientId: a\n",
		"want viewer":        "issuer: https://idp.example\nurl: https://x.example\nclientId: a\nroles: {king: a}\n",
		"field clientid":     "issuer: https://idp.example\nurl: https://x.example\nclientid: a\n",
		"no such file":       "issuer: https://idp.example\nurl: https://x.example\nclientId: a\nroles: {viewer: a}\nclientSecretFile: nowhere\n",
	} {
		name := filepath.Join(t.TempDir(), "oidc.yaml")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		_, err := Read(name)
		require.ErrorContains(t, err, want)
	}
}
