package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// Who is behind a request: a person, or a token of agents, which gives the right
// to ask and to send, and no identity of a machine.
type Who struct {
	Name string
	Role fleet.Role // "" of an agent's token
}

// ErrUnknown is wrapped where a name, a password, a token or a session is not
// known here. It does not say which.
var ErrUnknown = errors.New("not known here, or no longer valid")

// order of the roles: each may what the one before may.
var order = []fleet.Role{fleet.Viewer, fleet.Operator, fleet.Approver}

// May reports whether somebody has at least a role.
func (w Who) May(least fleet.Role) bool {
	return w.Role != "" && slices.Index(order, w.Role) >= slices.Index(order, least)
}

const (
	tokenPrefix = "assay-token."
	leastLength = 12
	sessionTime = 12 * time.Hour
	cookieKey   = serverPrefix + "sessions"

	firstStart   = "first start" // who made the first account
	serverPrefix = "server:"     // names of what the server keeps for itself
)

// AddPerson makes an account, or gives it another password and role.
func (s *Server) AddPerson(ctx context.Context, by, name string, role fleet.Role, password string) error {
	switch {
	case !slices.Contains(order, role):
		return refuse(Invalid, "role %.20q: want viewer, operator or approver", role)
	case !plainName(name):
		return refuse(Invalid, "name %.40q: want letters, digits, '.', '-', '_' and '@'", name)
	case len(password) < leastLength || len(password) > 72:
		return refuse(Invalid, "the password has to have %d to 72 characters", leastLength)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	a := &fleet.Account{Name: name, Role: role, Secret: hash, Created: s.now(), By: by}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		if err := givenBy(tx, a); err != nil {
			return err
		}
		return s.putAccount(tx, by, "account", a)
	})
}

// AddToken makes a token for agents that is good until a time. It is shown once:
// the server keeps its hash.
func (s *Server) AddToken(ctx context.Context, by, name string, expires time.Time) (string, error) {
	if !plainName(name) {
		return "", refuse(Invalid, "name %.40q: want letters, digits, '.', '-', '_' and '@'", name)
	}
	b := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, b); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	secret := base64.RawURLEncoding.EncodeToString(b)
	sum := sha256.Sum256([]byte(secret))
	a := &fleet.Account{Name: "token:" + name, Secret: sum[:], Created: s.now(), Expires: expires}
	return tokenPrefix + name + "." + secret, s.Store.Update(ctx, func(tx fleet.Tx) error { return s.putAccount(tx, by, "token", a) })
}

// People lists accounts and tokens, without what the server keeps for itself.
func (s *Server) People(ctx context.Context) (out []fleet.Account, err error) {
	err = s.Store.View(ctx, func(r fleet.Reader) error {
		out, err = r.Accounts()
		return err
	})
	return slices.DeleteFunc(out, func(a fleet.Account) bool { return strings.HasPrefix(a.Name, serverPrefix) }), err
}

// Disable ends an account or a token.
func (s *Server) Disable(ctx context.Context, by, name string) error {
	switch {
	case name == by:
		return refuse(Conflict, "nobody ends the account that is in use")
	case strings.HasPrefix(name, serverPrefix):
		return refuse(Unknown, "the account is not known here")
	}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		a, err := tx.Account(name)
		if err != nil {
			return found("the account", err)
		}
		a.Disabled = true
		if _, err := tx.Append(auditlog.Entry{At: s.now(), Actor: by, Action: "disable", Subject: name}); err != nil {
			return err
		}
		return tx.PutAccount(a)
	})
}

func (s *Server) putAccount(tx fleet.Tx, by, what string, a *fleet.Account) error {
	if _, err := tx.Append(auditlog.Entry{At: a.Created, Actor: by, Action: "add " + what, Subject: a.Name, Detail: string(a.Role)}); err != nil {
		return err
	}
	return tx.PutAccount(a)
}

func plainName(s string) bool {
	return s != "" && len(s) <= 100 && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@", r)
	}) < 0
}

// Token finds who a token was given to.
func (s *Server) Token(ctx context.Context, token string) (*Who, error) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	i := strings.LastIndexByte(rest, '.')
	if !ok || i < 0 {
		return nil, ErrUnknown
	}
	a, err := s.account(ctx, "token:"+rest[:i])
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(rest[i+1:]))
	if subtle.ConstantTimeCompare(sum[:], a.Secret) != 1 {
		return nil, ErrUnknown
	}
	return &Who{Name: a.Name}, nil
}

// nobody's hash has a login of an unknown name take as long as one of a known.
var nobody, _ = bcrypt.GenerateFromPassword([]byte("nobody has this password"), bcrypt.DefaultCost)

// Login checks a password and gives a session.
func (s *Server) Login(ctx context.Context, name, password string) (session string, w *Who, err error) {
	a, err := s.account(ctx, name)
	hash := nobody
	if err == nil && a.Role != "" {
		hash = a.Secret
	}
	wrong := bcrypt.CompareHashAndPassword(hash, []byte(password))
	switch {
	case err != nil && !errors.Is(err, ErrUnknown):
		return "", nil, err
	case err != nil || wrong != nil || a.Role == "":
		return "", nil, ErrUnknown
	}
	session, err = s.newSession(ctx, name, a.Secret, a.Ended)
	return session, &Who{a.Name, a.Role}, err
}

// newSession makes what a person shows from then on: until when, who, and that this
// server said so. It ends when the account's secret is another one.
func (s *Server) newSession(ctx context.Context, name string, secret []byte, ended int) (string, error) {
	key, err := s.sessionKey(ctx)
	if err != nil {
		return "", err
	}
	text := strconv.FormatInt(s.now().Add(sessionTime).Unix(), 10) + "." + name
	return text + "." + mac(key, text, secret, ended), nil
}

// Logout ends all sessions of a person.
func (s *Server) Logout(ctx context.Context, by Who) error {
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		a, err := tx.Account(by.Name)
		if err != nil {
			return found("the account", err)
		}
		a.Ended++
		if _, err := tx.Append(auditlog.Entry{At: s.now(), Actor: by.Name, Action: "log out", Subject: by.Name}); err != nil {
			return err
		}
		return tx.PutAccount(a)
	})
}

// LoginAs gives a session to somebody whom a provider of identities vouches for. The
// name is for people; the subject, which the provider gives to nobody else, decides
// whose account it is. Without a role nobody is let in.
func (s *Server) LoginAs(ctx context.Context, subject, name string, role fleet.Role) (session string, err error) {
	account := "oidc:" + name
	now := s.now()
	if !plainName(name) || subject == "" {
		return "", ErrUnknown
	}
	var secret []byte
	var ended int
	refused := false
	err = s.Store.Update(ctx, func(tx fleet.Tx) error {
		refused = !slices.Contains(order, role)
		a, err := tx.Account(account)
		switch {
		case errors.Is(err, fleet.ErrNotFound):
			key := make([]byte, 32)
			if _, err := io.ReadFull(s.Random, key); err != nil {
				return err
			}
			a = &fleet.Account{Name: account, Subject: subject, Secret: key, Created: now}
		case err != nil:
			return err
		}
		refused = refused || a.Disabled || a.Subject != subject
		action := "log in"
		if refused {
			action = "log in refused"
		}
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: account, Action: action, Subject: subject, Detail: string(role)}); err != nil || refused {
			return err
		}
		a.Role, a.Expires, secret, ended = role, now.Add(sessionTime), a.Secret, a.Ended
		return tx.PutAccount(a)
	})
	switch {
	case err != nil:
		return "", err
	case refused:
		return "", ErrUnknown
	}
	return s.newSession(ctx, account, secret, ended)
}

// Session finds who a session belongs to. It ends with its time, with the account,
// with another password, and when the person logs out anywhere.
func (s *Server) Session(ctx context.Context, session string) (*Who, error) {
	i, j := strings.IndexByte(session, '.'), strings.LastIndexByte(session, '.')
	if i <= 0 || j <= i {
		return nil, ErrUnknown
	}
	until, err := strconv.ParseInt(session[:i], 10, 64)
	if err != nil || s.now().Unix() >= until {
		return nil, ErrUnknown
	}
	a, err := s.account(ctx, session[i+1:j])
	if err != nil {
		return nil, err
	}
	key, err := s.sessionKey(ctx)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal([]byte(session[j+1:]), []byte(mac(key, session[:j], a.Secret, a.Ended))) {
		return nil, ErrUnknown
	}
	return &Who{a.Name, a.Role}, nil
}

func mac(key []byte, text string, secret []byte, ended int) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	m.Write([]byte{0})
	m.Write(secret)
	if ended > 0 {
		m.Write(strconv.AppendInt([]byte{0}, int64(ended), 10))
	}
	return hex.EncodeToString(m.Sum(nil))
}

// account finds one that may be used.
func (s *Server) account(ctx context.Context, name string) (a *fleet.Account, err error) {
	err = s.Store.View(ctx, func(r fleet.Reader) error {
		a, err = r.Account(name)
		return err
	})
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return nil, ErrUnknown
	case err != nil:
		return nil, err
	case a.Disabled, !a.Expires.IsZero() && !s.now().Before(a.Expires), strings.HasPrefix(name, serverPrefix):
		return nil, ErrUnknown
	}
	return a, nil
}

// sessionKey is one key for all processes, made by the first that needs it. It never
// changes, so that each process asks for it once.
func (s *Server) sessionKey(ctx context.Context) ([]byte, error) {
	s.sessions.Lock()
	defer s.sessions.Unlock()
	if s.sessions.key != nil {
		return s.sessions.key, nil
	}
	key, err := s.storedKey(ctx)
	if errors.Is(err, fleet.ErrNotFound) {
		key, err = s.newKey(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	s.sessions.key = key
	return key, nil
}

func (s *Server) storedKey(ctx context.Context) (key []byte, err error) {
	err = s.Store.View(ctx, func(r fleet.Reader) error {
		a, err := r.Account(cookieKey)
		if err == nil {
			key = a.Secret
		}
		return err
	})
	return key, err
}

// newKey makes a key, unless another process made one in the meantime.
func (s *Server) newKey(ctx context.Context) (key []byte, err error) {
	fresh := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, fresh); err != nil {
		return nil, err
	}
	err = s.Store.Update(ctx, func(tx fleet.Tx) error {
		a, err := tx.Account(cookieKey)
		if err == nil {
			key = a.Secret
		}
		if !errors.Is(err, fleet.ErrNotFound) {
			return err
		}
		key = fresh
		return tx.PutAccount(&fleet.Account{Name: cookieKey, Secret: key, Created: s.now()})
	})
	return key, err
}

// FirstPassword makes the first account of an empty store, an approver with the
// name admin, and gives its password.
func (s *Server) FirstPassword(ctx context.Context) (string, error) {
	b := make([]byte, 15)
	if _, err := io.ReadFull(s.Random, b); err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	password := base64.RawURLEncoding.EncodeToString(b)
	return password, s.AddPerson(ctx, firstStart, "admin", fleet.Approver, password)
}
