//go:build linux

// Command sender is the part of the bootable image that has a network: it gets
// an address by DHCP and sends one evidence file to the server that the image
// names, over TLS with the roots that the image holds. It is a program of its
// own, and only in images that send, so that the others are smaller and have no
// network at all.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/dhclient"
	"github.com/vishvananda/netlink"
)

const (
	wholeTime  = 4 * time.Minute
	linkTime   = 20 * time.Second
	leaseTime  = 10 * time.Second
	leaseTries = 3
	sendTime   = 90 * time.Second
)

func main() {
	log.SetOutput(io.Discard) // the DHCP client tells every step
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: sender URL ROOTS EVIDENCE")
		os.Exit(64)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wholeTime)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, to, roots, file string) error {
	client, err := newClient(roots)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	ports, err := physicalPorts()
	if err != nil {
		return err
	}
	failures := []error{errors.New("no network port got an address")}
	config := dhclient.Config{Timeout: leaseTime, Retries: leaseTries}
	for r := range dhclient.SendRequests(ctx, ports, true, false, config, linkTime) {
		name := r.Interface.Attrs().Name
		if r.Err == nil {
			r.Err = r.Lease.Configure()
		}
		if r.Err == nil {
			r.Err = send(ctx, client, to, filepath.Base(file), body)
		}
		if r.Err == nil {
			fmt.Printf("sent through %s\n", name)
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", name, r.Err))
	}
	return errors.Join(failures...)
}

// physicalPorts lists the network ports that belong to a device.
func physicalPorts() ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("network ports: %w", err)
	}
	var out []netlink.Link
	for _, l := range all {
		if _, err := os.Stat("/sys/class/net/" + l.Attrs().Name + "/device"); err == nil {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the machine shows no network port")
	}
	return out, nil
}

// newClient trusts the given roots and nobody else. It follows no redirection
// and uses no proxy.
func newClient(roots string) (*http.Client, error) {
	pem, err := os.ReadFile(roots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", roots)
	}
	return &http.Client{
		Timeout:       sendTime,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// send posts the evidence. The answer is for the person at the screen.
func send(ctx context.Context, client *http.Client, to, name string, body []byte) error {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no https address", to)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/zip")
	req.Header.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the server answers %s: %s", res.Status, printable(string(answer)))
	}
	if len(answer) > 0 {
		fmt.Println(printable(strings.TrimSpace(string(answer))))
	}
	return nil
}

// printable keeps an answer from steering the console.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
