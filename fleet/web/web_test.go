package web

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// TestPages is what a reader of a fleet's pages relies on.
func TestPages(t *testing.T) {
	s := newFleet(t)
	t.Run("overview", func(t *testing.T) { overviewTells(t, s) })
	t.Run("machine", func(t *testing.T) { machineTells(t, s) })
	t.Run("downloads", func(t *testing.T) { downloads(t, s) })
	t.Run("cohorts", func(t *testing.T) { cohortsTell(t, s) })
	t.Run("goldens", func(t *testing.T) { goldensTell(t, s) })
	t.Run("without a login", func(t *testing.T) { withoutLogin(t, s) })
	t.Run("roles", func(t *testing.T) { roles(t, s) })
	t.Run("other sites", func(t *testing.T) { otherSites(t, s) })
	t.Run("links", func(t *testing.T) { links(t, s) })
	t.Run("log", func(t *testing.T) { logHolds(t, s) }) // changes the log under the server
	t.Run("results", func(t *testing.T) { resultsHold(t, s) })
	t.Run("damaged", func(t *testing.T) { damaged(t, s) })
}

// text of a page without its marks.
func text(page string) string {
	page = regexp.MustCompile(`(?s)<head>.*?</head>|<[^>]*>`).ReplaceAllString(page, " ")
	return strings.Join(strings.Fields(page), " ")
}

// Which machines changed since yesterday, and where do I look.
func overviewTells(t *testing.T, s *site) {
	page := s.as("vera").page("/")
	moved, rest, _ := strings.Cut(page[strings.Index(page, `id="moved"`):], `id="need"`)
	require.Regexp(t, `node-1 .*pass to .*fail .*critical HW-001 .*SLOT7`, text(moved), "what, and where on the board")
	require.Regexp(t, `rack-07 .*stale`, text(moved), "who went silent has no result, and moved")
	require.NotContains(t, text(moved), "rack-00", "nothing is told of machines of which nothing moved")
	require.Contains(t, text(page), "3 of 14 machines need somebody.")
	require.NotContains(t, page, `class="sentence good"`)
	require.Contains(t, text(rest), "1 exception waits for another person")
	require.Contains(t, text(rest), "fleet:part pci 1d6a:00b1 x1", "the exception that expires soon")
	require.Contains(t, page, "<svg class=\"plot\" role=\"img\" aria-label=\"Machines that do not pass, by day, for 22 days: 3 today\"")
	// The colour of a pass is on passes only.
	for _, m := range regexp.MustCompile(`class="state (s-[a-z]+)"><span aria-hidden="true">[^<]*</span> ([a-z]+)<`).FindAllStringSubmatch(page, -1) {
		require.Equal(t, m[2] == "pass", m[1] == "s-pass", m[0])
	}
}

func machineTells(t *testing.T, s *site) {
	b := s.as("vera")
	page := text(b.page("/machines/h-1"))
	for _, want := range []string{"fail node-1", "Last attested 2026-03-03 09:30 UTC just now", "Assurance L4", "Where to look SLOT7 PCIe x8", "IC-02", "HW-001 Component that no manifest line covers", "Would disprove it", "Not checked what reason PCR 10", "2026-03-01 09:30 UTC 2 days ago"} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, "Audit now", "a viewer changes nothing")
	require.NotContains(t, page, "Ask for an exception")
	stale := text(b.page("/machines/h-r07"))
	require.Contains(t, stale, "stale")
	r := "/results/" + s.resultOf("h-1")
	require.Contains(t, text(b.page(r)), "Verdict of the appraisal: fail")
	require.Regexp(t, `memory 4 .*dimm:P1-DIMMA1 Micron .*P1-DIMMA1`, text(b.page(r+"/parts")))
	require.Regexp(t, `EV_S_CRTM_VERSION|EV_POST_CODE|EV_EFI`, text(b.page(r+"/boot")))
	require.Contains(t, b.page(r+"/firmware"), `<svg class="flash" role="img"`)
	code, _, _ := b.get("/machines/h-nothing")
	require.Equal(t, http.StatusNotFound, code)
	code, _, _ = b.get("/machines/h-1?before=yesterday")
	require.Equal(t, http.StatusUnprocessableEntity, code)
}

// What is downloaded is what was judged.
func downloads(t *testing.T, s *site) {
	b := s.as("vera")
	code, zip, head := b.get("/results/" + s.resultOf("h-1") + "/evidence.zip")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, head.Get("Content-Disposition"), "attachment")
	bundle, err := evidence.OpenZip([]byte(zip), "evidence", evidence.Limits{})
	require.NoError(t, err)
	digest := bundle.Digest()
	code, raw, _ := b.get("/results/" + s.resultOf("h-1") + "/result.json")
	require.Equal(t, http.StatusOK, code)
	var r assay.Result
	require.NoError(t, json.Unmarshal([]byte(raw), &r))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Equal(t, r.Evidence.SHA256, hex.EncodeToString(digest[:]))
	var docs []fleet.Document
	s.view(func(rd fleet.Reader) (err error) { docs, err = rd.Library(1); return err })
	code, raw, _ = b.get("/goldens/" + docs[0].Digest + "/document.json")
	require.Equal(t, http.StatusOK, code)
	sum := sha256.Sum256([]byte(raw))
	require.Equal(t, docs[0].Digest, hex.EncodeToString(sum[:]))
}

func cohortsTell(t *testing.T, s *site) {
	b := s.as("vera")
	require.Regexp(t, `Example Corp\. R640 12 yes`, text(b.page("/cohorts")))
	page := text(b.page("/cohorts/7261636b00000000"))
	require.Contains(t, page, "11 machines are like the others; 1 is not.")
	require.Regexp(t, `rack-11 3\.6 has part pci 1d6a:00b1 x1 1 of 12 have it`, page)
	require.Regexp(t, `memory Example 32G x16 12 of 12`, page)
	code, _, _ := b.get("/cohorts/nothing")
	require.Equal(t, http.StatusNotFound, code)
}

func goldensTell(t *testing.T, s *site) {
	b := s.as("vera")
	page := text(b.page("/goldens"))
	require.Regexp(t, `2 in use .*Signer.* 1 retired 2026-02-01`, page)
	page = text(b.page(s.comparison()))
	require.Contains(t, page, "version 2 follows version 1")
	require.Regexp(t, `added`, page)
	require.Regexp(t, `0\.9 `, page, "what it was")
	code, _, _ := b.get("/goldens/compare?old=x&new=y")
	require.Equal(t, http.StatusNotFound, code)
}

// Nobody reads or changes anything without a login; and nothing but the form comes.
func withoutLogin(t *testing.T, s *site) {
	b := s.as("")
	code, page, _ := b.get("/")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, page, `name="password"`)
	var head http.Header
	require.NotContains(t, page, "node-1")
	for _, path := range s.all() {
		if path == "/" {
			continue
		}
		code, page, head = b.get(path)
		require.Equal(t, http.StatusSeeOther, code, path)
		require.Equal(t, "/login?next="+url.QueryEscape(path), head.Get("Location"))
		require.NotContains(t, page, "node-1")
	}
	for _, path := range []string{"/results/" + s.resultOf("h-1") + "/evidence.zip", "/jobs/", "/jobs/api/jobs"} {
		code, _, _ = b.get(path)
		require.Equal(t, http.StatusSeeOther, code, path)
	}
	for _, path := range []string{"/machines/h-1/audit", "/machines/h-1/retire", "/exceptions", "/exceptions/x-1/approve"} {
		code, _, head = b.post(path, url.Values{"reason": {"none"}, "sure": {"yes"}})
		require.Equal(t, http.StatusSeeOther, code, path)
		require.Equal(t, "/login", head.Get("Location"), path)
	}
	for _, path := range []string{"/", "/login", "/machines"} {
		_, _, head = b.get(path)
		csp := head.Get("Content-Security-Policy")
		require.Contains(t, csp, "default-src 'none'", path)
		require.NotContains(t, csp, "unsafe", path)
		require.Equal(t, "nosniff", head.Get("X-Content-Type-Options"))
		require.Equal(t, "no-store", head.Get("Cache-Control"))
	}
	require.Equal(t, http.StatusNotFound, first(b.get("/assets/0000000000000000/assay.css")))
}

func first(code int, _ string, _ http.Header) int { return code }

func roles(t *testing.T, s *site) {
	var waiting fleet.Exception
	s.view(func(r fleet.Reader) error {
		all, err := r.Exceptions(time.Time{})
		for _, x := range all {
			if x.Approved == "" {
				waiting = x
			}
		}
		return err
	})
	ask := url.Values{"code": {"HW-002"}, "subject": {"dimm:A1"}, "host": {"h-1"}, "reason": {"repaired"}, "expires": {s.now().AddDate(0, 0, 3).Format(time.DateOnly)}}
	approve := "/exceptions/" + waiting.ID + "/approve"
	for _, x := range []struct {
		who, path string
		form      url.Values
		want      int
	}{
		{"vera", "/machines/h-1/audit", nil, http.StatusForbidden},
		{"vera", "/machines/h-1/retire", url.Values{"reason": {"sold"}, "sure": {"yes"}}, http.StatusForbidden},
		{"vera", "/exceptions", ask, http.StatusForbidden},
		{"vera", approve, nil, http.StatusForbidden},
		{"otto", approve, nil, http.StatusForbidden},
		{"anna", approve, nil, http.StatusForbidden}, // who asked
		{"otto", "/machines/h-1/audit", nil, http.StatusSeeOther},
		{"otto", "/exceptions", ask, http.StatusSeeOther},
		{"otto", "/exceptions", url.Values{"code": {"HW-002"}, "subject": {"dimm:A1"}, "host": {"h-1"}, "reason": {"no end"}}, http.StatusUnprocessableEntity},
		{"otto", "/exceptions", url.Values{"code": {"HW-002"}, "subject": {"dimm:A1"}, "host": {"h-1"}, "reason": {strings.Repeat("long", 1000)}, "expires": {"2026-03-09"}}, http.StatusUnprocessableEntity},
		{"otto", "/machines/h-r03/retire", url.Values{"reason": {"sold"}}, http.StatusUnprocessableEntity},
		{"otto", "/machines/h-r03/retire", url.Values{"reason": {"sold"}, "sure": {"yes"}}, http.StatusSeeOther},
		{"otto", "/machines/h-r03/audit", nil, http.StatusConflict},
		{"otto", "/machines/h-nothing/audit", nil, http.StatusNotFound},
		{"axel", approve, nil, http.StatusSeeOther},
		{"axel", approve, nil, http.StatusConflict},
	} {
		code, page, _ := s.as(x.who).post(x.path, x.form)
		require.Equal(t, x.want, code, "%s %s: %s", x.who, x.path, text(page))
	}
	s.view(func(r fleet.Reader) error {
		h, err := r.Host("h-1")
		require.NoError(t, err)
		require.Equal(t, s.now(), h.AuditNow, "the machine is asked")
		h, err = r.Host("h-r03")
		require.Equal(t, fleet.Retired, h.State)
		return err
	})
	require.Equal(t, http.StatusForbidden, first(s.as("vera").get("/jobs/")))
	require.Equal(t, http.StatusMethodNotAllowed, first(s.as("axel").post("/jobs/api/jobs/delete", nil)))
}

// A page of another site makes a browser send a form with its cookie.
func otherSites(t *testing.T, s *site) {
	b := s.as("otto")
	for name, head := range map[string]http.Header{"by what browsers say": {"Sec-Fetch-Site": {"cross-site"}}, "by the origin": {"Origin": {"https://elsewhere.example"}}} {
		for _, path := range []string{"/machines/h-1/audit", "/login", "/logout"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader("name=vera"))
			require.NoError(t, err)
			req.Header = head.Clone()
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			code, _, got := b.do(req)
			require.Equal(t, http.StatusForbidden, code, "%s %s", name, path)
			require.Empty(t, got.Values("Set-Cookie"))
		}
	}
}

// Every link of every page leads somewhere.
func links(t *testing.T, s *site) {
	b := s.as("anna")
	seen := map[string]bool{}
	for _, path := range s.all() {
		for _, m := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(b.page(path), -1) {
			to, _, _ := strings.Cut(html.UnescapeString(m[1]), "#")
			if to == "" || seen[to] {
				continue
			}
			require.True(t, strings.HasPrefix(to, "/"), "%s leads to %s", path, to)
			seen[to] = true
		}
	}
	require.Greater(t, len(seen), 40)
	for to := range seen {
		code := 0
		require.Eventually(t, func() bool { // the quota of a name fills again
			code, _, _ = b.get(to)
			return code != http.StatusTooManyRequests
		}, time.Minute, 50*time.Millisecond, to)
		require.Equal(t, http.StatusOK, code, to)
	}
}

func logHolds(t *testing.T, s *site) {
	s.update(func(tx fleet.Tx) error {
		for i := range 250 {
			if _, err := tx.Append(auditlog.Entry{At: s.now(), Actor: "test", Action: "count", Subject: fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	b := s.as("vera")
	pages, path := 0, "/log"
	older := regexp.MustCompile(`href="(/log\?before=\d+)"`)
	for path != "" {
		page := b.page(path)
		require.Contains(t, page, "The chain of hashes holds for the", path)
		pages++
		path = ""
		if m := older.FindStringSubmatch(page); m != nil {
			path = m[1]
		}
	}
	require.GreaterOrEqual(t, pages, 3)
	db, err := sql.Open("sqlite", "file:"+s.file+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer db.Close()
	for what, statement := range map[string]string{
		"a line that was changed":  `UPDATE audit SET doc = replace(doc, '"count"', '"pause"') WHERE seq = (SELECT max(seq) - 3 FROM audit)`,
		"a line that is not there": `DELETE FROM audit WHERE seq = (SELECT max(seq) - 150 FROM audit)`,
		"the end that is gone":     `DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
		var head int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT seq FROM audit_head`).Scan(&head))
		broken := strings.Contains(b.page("/log"), "does not hold") || strings.Contains(b.page(fmt.Sprint("/log?before=", head-99)), "does not hold")
		require.True(t, broken, what)
	}
}

// A result that somebody made better in the store, and one that somebody removed,
// are told of.
func resultsHold(t *testing.T, s *site) {
	b := s.as("vera")
	id := s.resultOf("h-1")
	require.NotContains(t, b.page("/machines/h-1"), "what the server wrote")
	require.NotContains(t, b.page("/results/"+id), "what the server wrote")
	db, err := sql.Open("sqlite", "file:"+s.file+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer db.Close()
	var doc string
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT doc FROM result WHERE id = $1`, id).Scan(&doc))
	_, err = db.ExecContext(t.Context(), `UPDATE result SET doc = replace(doc, '"state":"fail"', '"state":"pass"') WHERE id = $1`, id)
	require.NoError(t, err)
	require.Contains(t, b.page("/machines/h-1"), "its signature does not fit")
	require.Contains(t, b.page("/results/"+id), "This is not what the server wrote:")
	_, err = db.ExecContext(t.Context(), `UPDATE result SET doc = $1 WHERE id = $2`, doc, id)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `DELETE FROM result WHERE host = 'h-1' AND at = (SELECT min(at) FROM result WHERE host = 'h-1')`)
	require.NoError(t, err)
	require.Contains(t, b.page("/machines/h-1"), "the result before it is not here")
}

// What somebody changed in the store is not shown as evidence, and does not hide
// the rest.
func damaged(t *testing.T, s *site) {
	b := s.as("vera")
	id := s.resultOf("h-1")
	var r *fleet.Result
	s.view(func(rd fleet.Reader) (err error) { r, err = rd.Result(id); return err })
	changed := 0
	require.NoError(t, filepath.WalkDir(s.blobs, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, digest := range []string{r.Blob, r.Evidence} {
			if strings.Contains(p, digest) || strings.Contains(strings.ReplaceAll(p, string(filepath.Separator), ""), digest) {
				changed++
				return os.WriteFile(p, []byte("other"), 0o600)
			}
		}
		return nil
	}))
	require.Equal(t, 2, changed)
	page := text(b.page("/machines/h-1"))
	require.Contains(t, page, "Only part of this page can be shown")
	require.Contains(t, page, "HW-001")
	for _, path := range []string{"/evidence.zip", "/parts", "/result.json"} {
		code, body, _ := b.get("/results/" + id + path)
		require.Equal(t, http.StatusInternalServerError, code, path)
		require.Contains(t, body, "somebody changed it", path)
	}
}

func TestLogin(t *testing.T) {
	s := newSite(t)
	b := s.as("")
	code, page, head := b.post("/login", url.Values{"name": {"otto"}, "password": {"not the password"}, "next": {"/machines"}})
	require.Equal(t, http.StatusUnauthorized, code)
	require.Contains(t, page, `value="/machines"`, "the way is not forgotten")
	require.Empty(t, head.Values("Set-Cookie"))
	code, _, head = b.post("/login", url.Values{"name": {"otto"}, "password": {password}, "next": {"/machines?state=fail"}})
	require.Equal(t, http.StatusSeeOther, code)
	require.Equal(t, "/machines?state=fail", head.Get("Location"))
	cookie := head.Get("Set-Cookie")
	require.Contains(t, cookie, api.SessionCookie+"=")
	require.Contains(t, cookie, "HttpOnly")
	require.Contains(t, cookie, "SameSite=Strict")
	require.NotContains(t, cookie, "Secure", "without TLS a browser would not send it back")
	b.page("/")
	code, _, _ = b.post("/logout", nil)
	require.Equal(t, http.StatusSeeOther, code)
	require.Equal(t, http.StatusSeeOther, first(b.get("/machines")))

	mux := http.NewServeMux()
	require.NoError(t, Handle(t.Context(), mux, s.server, api.New(mux, s.server, "test"), "test"))
	w := httptest.NewTLSServer(mux)
	defer w.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/login", strings.NewReader(url.Values{"name": {"otto"}, "password": {password}}.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	client := w.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Contains(t, res.Header.Get("Set-Cookie"), "Secure")
}

// A server with a provider of identities shows the way there.
func TestLoginByProvider(t *testing.T) {
	s := newSite(t)
	for _, there := range []bool{false, true} {
		mux := http.NewServeMux()
		require.NoError(t, Handle(t.Context(), mux, s.server, api.New(mux, s.server, "test"), "test"))
		if there {
			mux.HandleFunc("GET /login/oidc", http.NotFound)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/login", nil))
		require.Equal(t, there, strings.Contains(w.Body.String(), `href="/login/oidc"`))
	}
}

// A session ends with its account, for pages too.
func TestSessionEndsWithItsAccount(t *testing.T) {
	s := newSite(t)
	b := s.as("otto")
	b.page("/machines")
	require.NoError(t, s.server.Disable(t.Context(), "test", "otto"))
	require.Equal(t, http.StatusSeeOther, first(b.get("/machines")))
	b = s.as("vera")
	s.later(13 * time.Hour)
	require.Equal(t, http.StatusSeeOther, first(b.get("/machines")))
}

// Guessing is slow whichever way it goes: pages and API count together.
func TestGuessingIsSlow(t *testing.T) {
	s := newSite(t)
	b := s.as("")
	last := 0
	for i := 0; i < 60 && last != http.StatusTooManyRequests; i++ {
		last, _, _ = b.post("/login", url.Values{"name": {fmt.Sprint("name-", i)}, "password": {"not the password"}})
	}
	require.Equal(t, http.StatusTooManyRequests, last)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/login", strings.NewReader(`{"name":"otto","password":"not the password"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	code, _, _ := b.do(req)
	require.Equal(t, http.StatusTooManyRequests, code)
}

func TestAfterTheLoginNobodyIsSentElsewhere(t *testing.T) {
	for next, want := range map[string]string{
		"": "/", "/": "/", "/machines?state=fail&text=a+b": "/machines?state=fail&text=a+b", "/results/r-1/parts": "/results/r-1/parts",
		"https://elsewhere.example/": "/", "//elsewhere.example/": "/", "/\\elsewhere.example": "/", "\\\\elsewhere.example": "/", "javascript:alert(1)": "/",
		"machines": "/", "/login": "/", "/logout": "/", "/\telsewhere": "/", "/%2f/elsewhere.example": "/", "///elsewhere.example": "/", "http:/elsewhere": "/", "/" + strings.Repeat("a", 2000): "/",
	} {
		require.Equal(t, want, local(next), next)
	}
}

func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/machines", "//x", "/\\x", "https://x", "/%2f%2fx", "/a?b=//c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := local(next)
		require.True(t, strings.HasPrefix(got, "/"), got)
		require.False(t, strings.HasPrefix(got, "//") || strings.HasPrefix(got, "/\\"), got)
		u, err := (&url.URL{Scheme: "https", Host: "fleet.example", Path: "/login"}).Parse(got)
		require.NoError(t, err)
		require.Equal(t, "fleet.example", u.Host)
	})
}

// An empty fleet is no good one.
func TestEmptyFleet(t *testing.T) {
	s := newSite(t)
	b := s.as("axel")
	page := b.page("/")
	require.Contains(t, page, "No machine is enrolled yet.")
	require.NotContains(t, page, `class="sentence good"`)
	for _, path := range []string{"/moved", "/machines", "/cohorts", "/goldens", "/exceptions", "/log", "/machines?state=fail&sort=since"} {
		b.page(path)
	}
}

// Only when every machine passes the page says so.
func TestGoodIsOnlyPass(t *testing.T) {
	s := newSite(t)
	s.rack()
	b := s.as("vera")
	require.Regexp(t, `class="sentence good">12 machines: every one passes\.`, b.page("/"))
	for _, state := range worstFirst {
		if state == fleet.Pass || state == fleet.Retired {
			continue
		}
		s.update(func(tx fleet.Tx) error {
			h, err := tx.Host("h-r05")
			if err != nil {
				return err
			}
			h.State = state
			return tx.PutHost(h)
		})
		require.NotContains(t, b.page("/"), `class="sentence good"`, state)
	}
}

// Every order and filter gives each machine once, page by page.
func TestListOfMachines(t *testing.T) {
	s := newSite(t)
	states := []fleet.State{fleet.Pass, fleet.Fail, fleet.Stale, fleet.Review, fleet.Enrolled}
	s.update(func(tx fleet.Tx) error {
		for i := range 130 {
			h := &fleet.Host{ID: fmt.Sprintf("h-%03d", i), Name: fmt.Sprintf("node-%03d", i), Site: fmt.Sprint("site ", i%2), State: states[i%5], Mode: fleet.ByAgent, Since: s.now().Add(time.Duration(i%7) * time.Hour), LastAttested: s.now().Add(-time.Duration(i%11) * time.Hour)}
			h.Identity.EKSHA256 = h.ID
			if err := tx.PutHost(h); err != nil {
				return err
			}
		}
		return nil
	})
	b := s.as("vera")
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	row := regexp.MustCompile(`<th scope="row"><a href="/machines/([^"]+)"`)
	for query, want := range map[string]int{
		"": 130, "sort=name": 130, "sort=attested": 130, "sort=since": 130, "state=fail": 26, "state=fail&sort=since": 26, "site=site+1": 65, "text=NODE-01": 10, "text=node-01&state=pass": 2, "text=100%25": 0, "state=retired": 0,
	} {
		seen := map[string]bool{}
		path := "/machines?" + query
		for path != "" {
			page := b.page(path)
			for _, m := range row.FindAllStringSubmatch(page, -1) {
				require.False(t, seen[m[1]], "%s: %s twice", query, m[1])
				seen[m[1]] = true
			}
			m := next.FindStringSubmatch(page)
			path = ""
			if m != nil {
				path = html.UnescapeString(m[1])
			}
		}
		require.Len(t, seen, want, query)
	}
	require.Regexp(t, `node-001.*node-006.*node-126.*stale`, text(b.page("/machines")), "the worst first, by name")
	for _, bad := range []string{"state=good", "sort=colour", "after=x", "sort=name&after=x", "after=fail:x", "sort=since&after=%5B%22x%22%2C%22y%22%5D", "text=" + strings.Repeat("x", 300)} {
		require.Equal(t, http.StatusUnprocessableEntity, first(b.get("/machines?"+bad)), bad)
	}
}

// moved builds results of machines and lists what moved.
func TestMoves(t *testing.T) {
	s := newSite(t)
	n := 0
	result := func(host string, at time.Duration, state fleet.State, changes ...fleet.Change) {
		n++
		s.update(func(tx fleet.Tx) error {
			h := &fleet.Host{ID: host, Name: host, Mode: fleet.ByAgent, State: state, Since: s.now().Add(at)}
			h.Identity.EKSHA256 = host
			if err := tx.PutHost(h); err != nil {
				return err
			}
			id := fmt.Sprintf("r-%03d", n)
			return tx.PutResult(&fleet.Result{ID: id, Host: host, Evidence: id, At: s.now().Add(at), State: state, Changes: changes})
		})
	}
	state := func(old, fresh fleet.State) fleet.Change {
		return fleet.Change{Kind: "state", Old: string(old), New: string(fresh)}
	}
	came := fleet.Change{Kind: "finding", Subject: "pci:1", New: "HW-001 Card"}
	went := fleet.Change{Kind: "resolved", Subject: "pci:1", Old: "HW-001 Card"}
	for i := range 20 { // an update of a rack
		result(fmt.Sprintf("h-u%02d", i), time.Hour, fleet.Review, state(fleet.Pass, fleet.Review), fleet.Change{Kind: "finding", Subject: "firmware:bios", New: "FW-002 Firmware"})
	}
	result("h-old", -48*time.Hour, fleet.Fail, state(fleet.Pass, fleet.Fail), came)
	result("h-blip", time.Hour, fleet.Fail, state(fleet.Pass, fleet.Fail), came)
	result("h-blip", 2*time.Hour, fleet.Pass, state(fleet.Fail, fleet.Pass), went)
	result("h-mended", time.Hour, fleet.Pass, state(fleet.Fail, fleet.Pass), went)
	result("h-new", time.Hour, fleet.Pass, state(fleet.Enrolled, fleet.Pass))
	result("h-more", time.Hour, fleet.Fail, came) // it failed before
	result("h-gone", time.Hour, fleet.Pass, state(fleet.Enrolled, fleet.Pass))
	s.update(func(tx fleet.Tx) error { // went silent after its result
		h, err := tx.Host("h-gone")
		h.State, h.Since = fleet.Stale, s.now().Add(3*time.Hour)
		return errorsOf(err, tx.PutHost(h))
	})
	var worse, other []move
	s.view(func(r fleet.Reader) (err error) {
		worse, other, _, err = moves(r, s.now().Add(-24*time.Hour))
		return err
	})
	names := func(ms []move) (out []string) {
		for _, m := range ms {
			out = append(out, fmt.Sprintf("%s+%d %s", m.Hosts[0].Name, len(m.Hosts)-1, m.New))
		}
		return out
	}
	require.Equal(t, []string{"h-more+0 fail", "h-gone+0 stale", "h-u00+19 review"}, names(worse), "the worst first; twenty that changed alike are one line")
	require.ElementsMatch(t, []string{"h-mended+0 pass", "h-new+0 pass"}, names(other), "what came and went again is not told")
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// hostile is what an attacker writes where a name belongs.
const hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202egnp.exe\u2066\u200b{{.}}"

// Everything that came from a machine is text, and stays where it is.
func TestHostileTexts(t *testing.T) {
	s := newSite(t)
	s.golden()
	s.work()
	s.host("h-1", "node-1", "ams", true)
	s.audit("h-1", "extra-nic-norom", func(files map[string][]byte) {
		for p, data := range files { // serial numbers are in no checksum that a parser needs
			if strings.HasSuffix(p, "/serial") || strings.HasSuffix(p, "/product") || strings.HasSuffix(p, "/manufacturer") || strings.HasSuffix(p, "/model") {
				files[p] = []byte(hostile + string(data))
			}
		}
		files["sys/bus/usb/devices/9-9/product"] = []byte(hostile)
	})
	s.update(func(tx fleet.Tx) error {
		h, err := tx.Host("h-1")
		if err != nil {
			return err
		}
		for _, v := range []*string{&h.Name, &h.Site, &h.Lot, &h.Address, &h.Policy, &h.Identity.Serial, &h.Identity.Product, &h.Identity.Manufacturer} {
			*v = hostile
		}
		open, err := tx.OpenFindings(fleet.FindingQuery{Host: "h-1"})
		if err != nil {
			return err
		}
		for i := range open {
			f := &open[i].Finding
			f.Subject, f.Want, f.Got, f.Why, f.Title, f.Action = hostile, hostile, hostile, hostile, hostile, hostile
			f.Location = finding.Location{Slot: hostile}
		}
		_, err = tx.Append(auditlog.Entry{At: s.now(), Actor: hostile, Action: hostile, Subject: hostile, Detail: hostile})
		p := fleet.Profile{ID: h.Profile, Name: hostile}
		x := fleet.Exception{ID: "x-1", Code: "HW-001", Subject: hostile, Host: "h-1", Reason: hostile, Asked: hostile, Expires: s.now().Add(time.Hour)}
		r := fleet.Result{ID: "r-zz", Host: "h-1", Evidence: "e-zz", At: s.now(), State: fleet.Fail, Changes: []fleet.Change{{Kind: "finding", Subject: hostile, New: "HW-001 " + hostile}}}
		return errorsOf(err, tx.PutHost(h), tx.PutOpen("h-1", open), tx.PutFeatures("h-1", p, []string{"part " + hostile, hostile}), tx.PutException(&x), tx.PutResult(&r))
	})
	s.view(func(r fleet.Reader) error { h, err := r.Host("h-1"); require.NotEmpty(t, h.Profile); return err })
	b := s.as("otto")
	r := "/results/" + s.resultOf("h-1")
	var profile string
	s.view(func(rd fleet.Reader) error {
		h, err := rd.Host("h-1")
		profile = h.Profile
		return err
	})
	found := 0
	for _, path := range []string{"/", "/moved", "/machines", "/machines?text=" + url.QueryEscape(hostile), "/machines/h-1", r, "/results/r-zz", r + "/parts", r + "/boot", r + "/firmware", "/cohorts", "/cohorts/" + profile, "/exceptions", "/exceptions?host=h-1&code=HW-001&subject=" + url.QueryEscape(hostile), "/log", "/login?next=" + url.QueryEscape(hostile)} {
		page := b.page(path)
		for _, never := range []string{"<script>", "<img", "\x1b", "\u202e", "\u2066", "\u200b"} {
			require.NotContains(t, page, never, path)
		}
		if strings.Contains(page, "&lt;script&gt;") {
			found++
		}
	}
	require.GreaterOrEqual(t, found, 11, "the texts are shown")
	_, _, head := b.get(r + "/evidence.zip")
	require.Regexp(t, `^attachment; filename="r-[0-9a-f]+\.evidence\.zip"$`, head.Get("Content-Disposition"))
}

func TestCleanTakesOutWhatAFieldForgot(t *testing.T) {
	require.Equal(t, "a\n\tb\u00e9", string(clean([]byte("a\n\tb\u00e9"))))
	require.Equal(t, `a\u202eb\u001bc\xff`, string(clean([]byte("a\u202eb\x1bc\xff"))))
}

// The job that removes what is old also keeps what the day was like.
func TestTrendIsKeptByTheServer(t *testing.T) {
	s := newSite(t)
	s.rack()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.server.Work(ctx, 1) }()
	require.Eventually(t, func() bool {
		var days []fleet.Counts
		s.view(func(r fleet.Reader) (err error) { days, err = r.Trend(s.now()); return err })
		return len(days) == 1 && days[0].ByState[fleet.Pass] == 12
	}, time.Minute, 20*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}
