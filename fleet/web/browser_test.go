package web

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// tab is a browser with one page of a site open. It keeps what went wrong in it.
type tab struct {
	s     *site
	ctx   context.Context
	shots string

	mu       sync.Mutex
	problems []string
}

// newTab starts a browser, or skips the test where there is none.
func newTab(t *testing.T, s *site) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is not installed: bash tools/setup.sh")
		}
		t.Skip("needs chromium (Debian package chromium)")
	}
	opts := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("lang", "en-GB"), chromedp.Flag("accept-lang", "en-GB")}
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // which root cannot have in a container
	}
	ctx, cancel := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(opts...))
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	b := &tab{s: s, ctx: ctx, shots: t.TempDir()}
	if dir := os.Getenv("ASSAY_SCREENSHOTS"); dir != "" {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		b.shots = dir
	}
	require.NoError(t, chromedp.Listen(ctx, b.watch))
	return b
}

// watch keeps what a page of ours never does: an error, a request to elsewhere.
func (b *tab) watch(event any) {
	problem := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		problem = fmt.Sprint("console: ", e.Type)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			problem = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && u.Scheme+"://"+u.Host != b.s.url { // the browser draws its own controls with data
			problem = "request: " + e.Request.URL
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			problem = fmt.Sprintf("answer: %d %s", e.Response.Status, e.Response.URL)
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.s.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	require.NoError(b.s.t, chromedp.Do(ctx, steps...))
}

func run[T any](b *tab, a chromedp.Action[T]) T {
	b.s.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	require.NoError(b.s.t, err)
	return v
}

// until waits for something of the page to be true, and of the page that follows
// while one follows.
func (b *tab) until(expression string) {
	b.s.t.Helper()
	require.Eventually(b.s.t, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		return err == nil && ok
	}, time.Minute, 50*time.Millisecond, expression)
}

func (b *tab) open(path string) {
	b.s.t.Helper()
	b.do(chromedp.Navigate(b.s.url + path))
}

// pressed submits with the keyboard and waits for the page that follows.
func (b *tab) login(name string) {
	b.s.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS("#name")), chromedp.SetValue(chromedp.CSS("#name"), name), chromedp.SendKeys(chromedp.CSS("#password"), password+"\r"))
	b.until(`document.querySelector(".who span") && document.querySelector(".who span").textContent.startsWith("` + name + `")`)
}

func (b *tab) logout() {
	b.s.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(".who button")), chromedp.WaitVisible(chromedp.CSS("#password")))
}

func (b *tab) emulate(media, scheme string, width int64) {
	b.s.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	require.NoError(b.s.t, err)
	b.do(chromedp.EmulateViewport(width, 900))
}

func (b *tab) shot(name string) {
	b.s.t.Helper()
	png := run(b, chromedp.FullScreenshot(100))
	require.NotEmpty(b.s.t, png)
	require.NoError(b.s.t, os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o600))
}

// all are the pages of a site that has results.
func (s *site) all() map[string]string {
	r := "/results/" + s.resultOf("h-1")
	return map[string]string{
		"overview": "/", "moved": "/moved?since=30d", "machines": "/machines", "machine": "/machines/h-1", "machine-other": "/machines/h-2", "result": r, "parts": r + "/parts", "boot": r + "/boot", "firmware": r + "/firmware",
		"cohorts": "/cohorts", "cohort": "/cohorts/7261636b00000000", "goldens": "/goldens", "compare": s.comparison(), "exceptions": "/exceptions", "log": "/log",
	}
}

// comparison is the page of the two revisions of the manifest.
func (s *site) comparison() string {
	var docs []fleet.Document
	s.view(func(r fleet.Reader) (err error) { docs, err = r.Library(0); return err })
	require.Len(s.t, docs, 2)
	return "/goldens/compare?old=" + docs[1].Digest + "&new=" + docs[0].Digest
}

// TestPagesInABrowser walks through all pages as people do.
func TestPagesInABrowser(t *testing.T) {
	s := newFleet(t)
	b := newTab(t, s)
	b.emulate("", "light", 1280)
	b.open("/machines/h-1")
	b.shot("login")
	b.login("otto")
	require.Equal(t, s.url+"/machines/h-1", run(b, chromedp.Location()), "back to where one wanted to go")

	pages := s.all()
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		b.emulate("", "light", 1280)
		b.open(pages[name])
		require.Empty(t, run(b, chromedp.Evaluate[[]string](sound)), name)
		b.axe(name + ", light")
		b.shot(name + "-light")
		b.emulate("", "dark", 1280)
		b.axe(name + ", dark")
		b.shot(name + "-dark")
		b.emulate("", "light", 390)
		require.Empty(t, run(b, chromedp.Evaluate[[]string](wide)), "%s does not fit a narrow screen", name)
		b.shot(name + "-phone")
		b.emulate("print", "dark", 800)
		b.shot(name + "-print")
	}
	b.emulate("", "light", 1280)
	b.open("/jobs/")
	b.until(`document.body.innerText.includes("Jobs")`)
	b.shot("jobs")
	require.Empty(t, b.problems)
	b.filter()
	b.keyboard()
	b.askAndApprove()
	require.Empty(t, b.problems)
}

// axe asks axe-core, too large to keep here, where ASSAY_AXE names its file:
// axe.min.js of the package axe-core.
func (b *tab) axe(name string) {
	t := b.s.t
	t.Helper()
	file := os.Getenv("ASSAY_AXE")
	if file == "" {
		return
	}
	source, err := os.ReadFile(file)
	require.NoError(t, err)
	run(b, chromedp.Evaluate[bool](string(source)+";true"))
	found := run(b, chromedp.Evaluate[[]string](`axe.run().then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`, chromedp.EvalAwaitPromise))
	require.Empty(t, found, name)
}

// sound lists what a screen reader or a keyboard stumbles over.
const sound = `(() => {
	const out = [], all = (s) => [...document.querySelectorAll(s)];
	if (all("h1").length !== 1) out.push("not one h1");
	if (all("main").length !== 1) out.push("not one main");
	if (!document.documentElement.lang) out.push("no language");
	if (!document.title) out.push("no title");
	all("input:not([type=hidden]), select, textarea").forEach(e => { if (!e.labels.length) out.push("no label: " + e.name); });
	all("button, a[href], summary").forEach(e => { if (!e.textContent.trim() && !e.getAttribute("aria-label")) out.push("no name: " + e.outerHTML.slice(0, 80)); });
	all("th").forEach(e => { if (!e.scope) out.push("no scope: " + e.textContent); });
	all("table").forEach(e => { if (!e.caption && !e.getAttribute("aria-label")) out.push("no caption: " + e.textContent.slice(0, 60)); });
	all("svg").forEach(e => { if (!(e.getAttribute("aria-hidden") === "true" || e.getAttribute("role") === "img" && e.getAttribute("aria-label"))) out.push("picture without a text"); });
	const ids = all("[id]").map(e => e.id); ids.forEach((id, i) => { if (ids.indexOf(id) !== i) out.push("id twice: " + id); });
	all("[aria-labelledby], [aria-describedby]").forEach(e => (e.getAttribute("aria-labelledby") || e.getAttribute("aria-describedby")).split(" ").forEach(id => { if (!document.getElementById(id)) out.push("names nothing: " + id); }));
	let last = 0; all("h1, h2, h3").forEach(e => { const n = +e.tagName[1]; if (n > last + 1) out.push("heading skipped before " + e.textContent); last = n; });
	return out;
})()`

// filter types, and the list changes without a new page.
func (b *tab) filter() {
	t := b.s.t
	b.open("/machines")
	run(b, chromedp.Evaluate[bool](`window.same = true`))
	b.do(chromedp.SendKeys(chromedp.CSS("#text"), "rack-0"))
	b.until(`document.querySelectorAll("#list tbody tr").length === 10`)
	require.Contains(t, run(b, chromedp.Text(chromedp.CSS("#status"))), "10 machines")
	run(b, chromedp.Evaluate[string](`(() => { const s = document.querySelector("#state"); s.value = "stale"; s.dispatchEvent(new Event("input", {bubbles: true})); return s.value; })()`))
	b.until(`document.querySelectorAll("#list tbody tr").length === 1`)
	require.True(t, run(b, chromedp.Evaluate[bool](`window.same === true`)), "the page was not loaded again")
	require.Contains(t, run(b, chromedp.Location()), "text=rack-0", "the address has the filter")
	require.Contains(t, run(b, chromedp.Location()), "state=stale")
	b.do(chromedp.Reload())
	require.Equal(t, "rack-0", run(b, chromedp.Evaluate[string](`document.querySelector("#text").value`)))
}

// keyboard goes to the content and opens a machine without a mouse.
func (b *tab) keyboard() {
	t := b.s.t
	b.open("/")
	b.do(chromedp.KeyEvent("\t"))
	require.Equal(t, "#main", run(b, chromedp.Evaluate[string](`document.activeElement.getAttribute("href")`)), "the first stop is the link to the content")
	require.True(t, run(b, chromedp.Evaluate[bool](`document.activeElement.getBoundingClientRect().top >= 0`)), "and it is seen")
	b.shot("skip-link")
	b.do(chromedp.KeyEvent("\r"))
	b.until(`document.activeElement.id === "main"`)
	for range 60 {
		b.do(chromedp.KeyEvent("\t"))
		style := run(b, chromedp.Evaluate[string](`getComputedStyle(document.activeElement).outlineStyle`))
		require.NotEqual(t, "none", style, "what has the focus is seen")
		if strings.HasPrefix(run(b, chromedp.Evaluate[string](`document.activeElement.getAttribute("href") || ""`)), "/machines/") {
			b.do(chromedp.KeyEvent("\r"))
			b.until(`document.querySelector("header.machine") !== null`)
			return
		}
	}
	t.Fatal("no machine can be reached by the keyboard")
}

// askAndApprove asks for an exception from a finding, as one person, and approves
// it as another.
func (b *tab) askAndApprove() {
	t := b.s.t
	b.open("/machines/h-1")
	b.do(chromedp.Click(chromedp.CSS(`article a[href*="code=HW-001"]`)), chromedp.WaitVisible(chromedp.CSS("#reason")))
	require.Equal(t, "HW-001", run(b, chromedp.Evaluate[string](`document.querySelector("#code").value`)))
	b.do(chromedp.SendKeys(chromedp.CSS("#reason"), "delivered with ticket 77"))
	run(b, chromedp.Evaluate[string](`document.querySelector("#expires").value = "`+b.s.now().AddDate(0, 0, 20).Format(time.DateOnly)+`"`))
	b.do(chromedp.Click(chromedp.CSS(".ask button")))
	b.until(`document.querySelector(".said")`)
	b.logout()
	b.login("axel")
	b.open("/exceptions")
	b.do(chromedp.Click(`//tr[contains(., "ticket 77")]//button`, chromedp.AtLeast(1)))
	b.until(`document.querySelector(".said") && document.querySelector(".said").textContent.includes("in force")`)
	b.shot("approved")
	b.s.view(func(r fleet.Reader) error {
		all, err := r.Exceptions(time.Time{})
		i := slices.IndexFunc(all, func(x fleet.Exception) bool { return x.Reason == "delivered with ticket 77" })
		require.GreaterOrEqual(t, i, 0)
		require.Equal(t, finding.UnexpectedComponent, all[i].Code)
		require.Equal(t, "otto", all[i].Asked)
		require.Equal(t, "axel", all[i].Approved)
		return err
	})
}

// wide lists what reaches over the right edge of the page and does not scroll by
// itself.
const wide = `document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll, .flashmap, .sr, svg")).map(e => e.tagName + "." + e.className + " " + Math.round(e.getBoundingClientRect().right) + ": " + e.textContent.slice(0, 40)).concat(["the page is " + document.documentElement.scrollWidth + " wide"])`
