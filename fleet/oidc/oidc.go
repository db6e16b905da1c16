// Package oidc lets people log in to a fleet's server with the accounts of their
// organisation (OpenID Connect Core 1.0, authorization code flow with PKCE, RFC
// 7636). Who may do what is decided by a claim, such as the groups of a person.
package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/settings"
)

// Config names a provider, and what its claims mean here.
type Config struct {
	Issuer           string                `yaml:"issuer"` // https URL; its discovery document is read at the start
	ClientID         string                `yaml:"clientId"`
	ClientSecretFile string                `yaml:"clientSecretFile"` // beside the file that names it; empty for a public client
	URL              string                `yaml:"url"`              // of this server, as people's browsers know it
	Scopes           []string              `yaml:"scopes"`           // beside openid
	NameClaim        string                `yaml:"nameClaim"`        // default preferred_username
	RoleClaim        string                `yaml:"roleClaim"`        // default groups
	Roles            map[fleet.Role]string `yaml:"roles"`            // the value of the claim that gives a role

	secret string
}

const (
	loginURL = "/login/oidc"
	backURL  = "/login/oidc/callback"
	cookie   = "assay_oidc"
	patience = 10 * time.Minute // to log in at the provider
)

// Read reads a configuration, and the secret that it names.
func Read(name string) (*Config, error) {
	c := &Config{NameClaim: "preferred_username", RoleClaim: "groups"}
	if err := settings.Read(name, c); err != nil {
		return nil, err
	}
	if err := c.check(name); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

func (c *Config) check(file string) (err error) {
	for what, address := range map[string]string{"issuer": c.Issuer, "url": c.URL} {
		u, err := url.Parse(address)
		local := err == nil && u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost" || u.Hostname() == "::1")
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !local {
			return fmt.Errorf("%s %.200q: want https://HOST", what, address)
		}
	}
	if c.ClientID == "" || len(c.Roles) == 0 {
		return errors.New("clientId and roles are needed")
	}
	for role, v := range c.Roles {
		if !slices.Contains([]fleet.Role{fleet.Viewer, fleet.Operator, fleet.Approver}, role) || v == "" {
			return fmt.Errorf("roles: %.40q: want viewer, operator or approver, each with a value of the claim", role)
		}
	}
	if c.ClientSecretFile == "" {
		return nil
	}
	c.secret, err = settings.Secret(file, c.ClientSecretFile)
	return err
}

// role is the highest that the values of the claim give, or "".
func (c *Config) role(values []string) (best fleet.Role) {
	for _, r := range []fleet.Role{fleet.Viewer, fleet.Operator, fleet.Approver} {
		if v := c.Roles[r]; v != "" && slices.Contains(values, v) {
			best = r
		}
	}
	return best
}

// login is a provider that was found.
type login struct {
	*Config
	server   *server.Server
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
}

// Handle registers the way in on a mux: /login/oidc, and where the provider sends
// people back to. The provider's discovery document is read first.
func Handle(ctx context.Context, mux *http.ServeMux, s *server.Server, c *Config) error {
	p, err := oidc.NewProvider(ctx, c.Issuer)
	if err != nil {
		return fmt.Errorf("oidc: %w", err)
	}
	l := &login{Config: c, server: s, verifier: p.Verifier(&oidc.Config{ClientID: c.ClientID})}
	l.oauth = oauth2.Config{
		ClientID: c.ClientID, ClientSecret: c.secret, Endpoint: p.Endpoint(), RedirectURL: strings.TrimSuffix(c.URL, "/") + backURL,
		Scopes: append([]string{oidc.ScopeOpenID, "profile"}, c.Scopes...),
	}
	mux.HandleFunc("GET "+loginURL, l.begin)
	mux.HandleFunc("GET "+backURL, l.back)
	return nil
}

// begin sends somebody to the provider. What has to come back is kept in a cookie
// of the browser, so that nobody is logged in by another one's link.
func (l *login) begin(w http.ResponseWriter, r *http.Request) {
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	l.set(w, strings.Join([]string{state, nonce, verifier}, "."), patience)
	http.Redirect(w, r, l.oauth.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

func (l *login) set(w http.ResponseWriter, v string, valid time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: base64.RawURLEncoding.EncodeToString([]byte(v)), Path: loginURL, MaxAge: int(valid.Seconds()),
		HttpOnly: true, Secure: strings.HasPrefix(l.URL, "https:"), SameSite: http.SameSiteLaxMode, // it has to come along from the provider's page
	})
}

// back takes somebody in who comes from the provider.
func (l *login) back(w http.ResponseWriter, r *http.Request) {
	session, err := l.session(r)
	l.set(w, "", -time.Second)
	if err != nil {
		status := http.StatusForbidden
		if !errors.Is(err, errRefused) && !errors.Is(err, server.ErrUnknown) {
			status = http.StatusBadGateway
		}
		http.Error(w, "You could not be logged in: "+http.StatusText(status)+". The server's audit log, or its operator, can say why.", status)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: api.SessionCookie, Value: session, Path: "/", HttpOnly: true, Secure: strings.HasPrefix(l.URL, "https:"), SameSite: http.SameSiteStrictMode})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("Cache-Control", "no-store")
	// A redirect from another site would not bring a strict cookie along; a page of
	// our own does.
	fmt.Fprint(w, `<!doctype html><html lang="en"><meta http-equiv="refresh" content="0; url=/"><title>Logged in</title><p><a href="/">Go on</a></p></html>`)
}

var errRefused = errors.New("refused")

// session checks what the provider says, and gives a session.
func (l *login) session(r *http.Request) (string, error) {
	c, err := r.Cookie(cookie)
	if err != nil {
		return "", fmt.Errorf("%w: nobody began here", errRefused)
	}
	raw, err := base64.RawURLEncoding.DecodeString(c.Value)
	parts := strings.Split(string(raw), ".")
	if err != nil || len(parts) != 3 {
		return "", fmt.Errorf("%w: nobody began here", errRefused)
	}
	q := r.URL.Query()
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(parts[0])) != 1 || q.Get("code") == "" {
		return "", fmt.Errorf("%w: another answer", errRefused)
	}
	token, err := l.oauth.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(parts[2]))
	if err != nil {
		return "", fmt.Errorf("oidc: %w", err)
	}
	text, ok := token.Extra("id_token").(string)
	if !ok {
		return "", fmt.Errorf("%w: no ID token", errRefused)
	}
	id, err := l.verifier.Verify(r.Context(), text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(parts[1])) != 1 {
		return "", fmt.Errorf("%w: an ID token of another login", errRefused)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return "", fmt.Errorf("%w: %w", errRefused, err)
	}
	name, _ := claims[l.NameClaim].(string)
	return l.server.LoginAs(r.Context(), id.Subject, name, l.role(texts(claims[l.RoleClaim])))
}

// texts reads a claim that is a text or a list of texts.
func texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}
