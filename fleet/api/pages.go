package api

import (
	"context"
	"errors"

	"github.com/assay-hw/assay/fleet/server"
)

// ErrTooMany is told to whoever asks more often than is good.
var ErrTooMany = errors.New("too many requests; wait a little")

// Login checks a name and a password that came from an address. Pages and the API
// count together, so that guessing is slow whichever way it goes.
func (a *API) Login(ctx context.Context, address, name, password string) (string, *server.Who, error) {
	if !a.logins.allow("address:"+remote(address)) || !a.logins.allow("login:"+name) {
		return "", nil, ErrTooMany
	}
	return a.server.Login(ctx, name, password)
}

// Allow counts a request of somebody, and of an address where the name is empty.
func (a *API) Allow(name, address string) error {
	who := "who:" + name
	if name == "" {
		who = "address:" + remote(address)
	}
	if !a.limits.allow(who) {
		return ErrTooMany
	}
	return nil
}

// AuditNow asks a machine for evidence, and wakes its agent when it waits here.
func (a *API) AuditNow(ctx context.Context, by server.Who, host string) error {
	if err := a.server.AuditNow(ctx, by, host); err != nil {
		return err
	}
	a.wake.call(host)
	return nil
}
