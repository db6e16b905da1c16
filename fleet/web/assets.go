package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
)

// asset is a file that pages load. Its address has its hash, so that a browser
// may keep it.
type asset struct {
	hash string
	kind string
	data []byte
}

func loadAssets() (map[string]asset, error) {
	out := map[string]asset{}
	for _, name := range []string{"assay.css", "htmx.min.js", "icon.svg"} {
		data, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return nil, err
		}
		kind := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)]
		if _, _, err := mime.ParseMediaType(kind); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		sum := sha256.Sum256(data)
		out[name] = asset{hex.EncodeToString(sum[:8]), kind, data}
	}
	return out, nil
}

func (p *pages) assetPath(name string) string { return "/assets/" + p.assets[name].hash + "/" + name }

func (p *pages) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := p.assets[r.PathValue("name")]
	if !ok || r.PathValue("hash") != a.hash {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.data) // who asked may be gone
}
