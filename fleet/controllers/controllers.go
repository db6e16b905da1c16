// Package controllers reads machines without an agent through their management
// controllers (DMTF DSP0266), for the fleet's server: who is asked with which name
// and password, and what they tell as evidence.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"testing/fstest"
	"time"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/collect/redfish"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/settings"
)

// Accounts say with which name and password controllers are asked. The first whose
// addresses fit counts; a controller that none fits is not asked, so that nobody
// who lists a machine decides where a password goes.
type Accounts struct {
	list   []account
	Limits evidence.Limits
	Now    func() time.Time
}

type account struct {
	Addresses    []string `yaml:"addresses"` // prefixes as 192.0.2.0/24, or patterns of names as *.bmc.example
	User         string   `yaml:"user"`
	PasswordFile string   `yaml:"passwordFile"` // beside the file that names it
	Session      bool     `yaml:"session"`

	password string
}

// Read reads a file of accounts, and the passwords that it names.
func Read(name string) (*Accounts, error) {
	var f struct {
		Accounts []account `yaml:"accounts"`
	}
	if err := settings.Read(name, &f); err != nil {
		return nil, err
	}
	for i := range f.Accounts {
		if err := f.Accounts[i].check(name); err != nil {
			return nil, fmt.Errorf("%s: accounts[%d]: %w", name, i, err)
		}
	}
	return &Accounts{list: f.Accounts, Now: time.Now}, nil
}

func (a *account) check(file string) error {
	if len(a.Addresses) == 0 {
		return errors.New("addresses are needed: where may the password go?")
	}
	for _, p := range a.Addresses {
		if _, err := netip.ParsePrefix(p); err == nil {
			continue
		}
		if _, err := path.Match(p, "x"); err != nil || strings.Contains(p, "/") || strings.Trim(p, "*.") == "" {
			return fmt.Errorf("address %q: want a prefix as 192.0.2.0/24, or a name as *.bmc.example", p)
		}
	}
	if a.User == "" {
		if a.PasswordFile != "" || a.Session {
			return errors.New("user is missing")
		}
		return nil
	}
	var err error
	if a.password, err = settings.Secret(file, a.PasswordFile); err != nil {
		return fmt.Errorf("passwordFile: %w", err)
	}
	return nil
}

// fits reports whether a host, a name or an address, is one that may be asked.
func (a *account) fits(host string) bool {
	addr, err := netip.ParseAddr(host)
	for _, p := range a.Addresses {
		if prefix, perr := netip.ParsePrefix(p); perr == nil {
			if err == nil && prefix.Contains(addr.Unmap()) {
				return true
			}
		} else if ok, _ := path.Match(strings.ToLower(p), strings.ToLower(host)); ok && err != nil {
			return true
		}
	}
	return false
}

func (a *Accounts) of(address string) (*account, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	for i := range a.list {
		if a.list[i].fits(u.Hostname()) {
			return &a.list[i], nil
		}
	}
	return nil, fmt.Errorf("no account of --controllers is for %s", u.Hostname())
}

// Ask reads the controller of a machine into a bundle, and gives the SHA-256 of its
// certificate when none was pinned. What the server itself is made of is left out.
func (a *Accounts) Ask(ctx context.Context, h *fleet.Host) (*evidence.Bundle, string, error) {
	by, err := a.of(h.Address)
	if err != nil {
		return nil, "", err
	}
	pin := ""
	src, err := redfish.Source(redfish.Controller{
		URL: h.Address, Pin: h.Pin, User: by.User, Password: by.password, Session: by.Session,
		Contact: func(_, p string) { pin = p },
	})
	if err != nil {
		return nil, "", err
	}
	o := collect.Options{Collector: evidence.Collector{Name: "assay fleet"}, Now: a.Now(), Extra: []collect.Extra{src}, Limits: a.Limits}
	for _, x := range collect.Sources() {
		o.Without = append(o.Without, x.Name)
	}
	w, err := collect.Scan(ctx, collect.Captured(fstest.MapFS{}), o)
	if err != nil {
		return nil, "", err
	}
	b, err := w.Bundle()
	if err != nil {
		return nil, "", err
	}
	return b, pin, answered(h, b)
}

// answered reports why a controller told nothing.
func answered(h *fleet.Host, b *evidence.Bundle) (err error) {
	if len(b.Glob(redfish.Name+"/*/redfish/v1/index.json")) > 0 {
		return nil
	}
	for _, x := range b.NotCollected() {
		if redfish.IsOtherCertificate(x.Reason) {
			return fmt.Errorf("%w: %s", server.ErrOtherController, x.Reason)
		}
		if strings.HasPrefix(x.Path, redfish.Name+"/") {
			err = errors.Join(err, fmt.Errorf("%s: %s", x.Path, x.Reason))
		}
	}
	return fmt.Errorf("the controller %s tells nothing: %w", h.Address, errors.Join(errNoRoot, err))
}

var errNoRoot = errors.New("no Redfish service root")
