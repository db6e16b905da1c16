package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/image"
)

// The image holds what decides who may sign, and no key that lies beside it.
func TestOnlyTrustGoesIntoTheImage(t *testing.T) {
	root, err := os.ReadFile(filepath.Join("..", "..", "testdata", "keys", "trust", "root.pem"))
	require.NoError(t, err)
	var dirs []string
	for _, grants := range []string{"threshold: 2\n", "grants: [{signer: {organization: Labs}, manufacturers: [\"*\"]}]\n"} {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"root.pem": root, "trust.yaml": []byte(grants), "root.key": []byte("-----BEGIN PRIVATE KEY-----"), "notes.txt": nil} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
		dirs = append(dirs, dir)
	}
	// A single file means the grants beside it too.
	files, err := trustFiles([]string{dirs[0], filepath.Join(dirs[1], "root.pem")})
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		require.NotContains(t, string(f.Data), "PRIVATE")
	}
	require.Equal(t, []string{"root-0000.der", "trust.json"}, names)
	require.Contains(t, string(files[1].Data), `"threshold":2`)
	require.Contains(t, string(files[1].Data), "Labs")
}

func build(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out, msg bytes.Buffer
	code := run(append([]string{"image", "build"}, args...), &environment{stdout: &out, stderr: &msg, now: time.Now})
	return code, msg.String()
}

// Exit codes tell what is to be done: name another file, or see to the machine
// that builds.
func TestExitCodesOfABuild(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
		return p
	}
	program, stub := file("program", "\x7fELF"), file("stub", "MZ")
	base := []string{"-o", filepath.Join(dir, "out.img"), "--scanner", program, "--stub", stub, "--cache", filepath.Join(dir, "cache")}
	code, msg := build(t, append(base, "--kernel", filepath.Join(dir, "none"))...)
	require.Equal(t, exitUnreadable, code, msg)
	code, msg = build(t, append(base, "--kernel", program)...)
	require.Equal(t, exitUnreadable, code, msg)
	code, msg = build(t, append(base, "--cmdline", "quiet\u00a0x")...)
	require.Equal(t, exitUsage, code, msg)
	t.Setenv("PATH", dir)
	code, msg = build(t, base...)
	require.Equal(t, exitInternal, code, msg)
	require.Contains(t, msg, "no apt-get")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "apt-cache"), []byte("#!/bin/sh\nexit 100\n"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "apt-get"), []byte("#!/bin/sh\nexit 100\n"), 0o700))
	code, msg = build(t, base...)
	require.Equal(t, exitInternal, code, msg)
	code, msg = build(t, append(base, "--kernel", file("kernel.deb", "no package"))...)
	require.Equal(t, exitInternal, code, "dpkg-deb is not there: %s", msg)
}

func TestAnInterruptedBuildIsNoBadInput(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, in := image.Build(ctx, image.Options{})
	require.Equal(t, exitUnreadable, codeOf(buildError(ctx, in)))
	require.Equal(t, exitInternal, codeOf(buildError(ctx, errors.New("apt-get"))))
	require.Equal(t, exitInternal, codeOf(buildError(ctx, os.ErrNotExist)), "a file of a tool")
	cancel()
	require.Equal(t, exitInternal, codeOf(buildError(ctx, in)))
}

// A program in /usr/bin has its others in /usr/libexec/assay; one that was built
// here has them beside it, and those come first.
func TestWhereTheProgramsOfAnImageAre(t *testing.T) {
	usr := t.TempDir()
	self := filepath.Join(usr, "bin", "assay")
	require.Empty(t, installed(self, "assay-scanner"))
	for _, dir := range []string{"bin", programsDir} {
		require.NoError(t, os.MkdirAll(filepath.Join(usr, dir), 0o700))
	}
	packaged, beside := filepath.Join(usr, programsDir, "assay-scanner"), filepath.Join(usr, "bin", "assay-scanner")
	require.NoError(t, os.WriteFile(packaged, nil, 0o600))
	require.Equal(t, packaged, installed(self, "assay-scanner"))
	require.NoError(t, os.WriteFile(beside, nil, 0o600))
	require.Equal(t, beside, installed(self, "assay-scanner"))
	require.Empty(t, installed(self, "assay-sender"))
}
