package blob

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 keeps each blob in an object of a bucket that speaks Amazon's protocol.
type S3 struct {
	codec
	client         *minio.Client
	bucket, prefix string
}

// fresh is how long an object counts as young: bytes that are stored again within
// that time cost one question.
const fresh = 24 * time.Hour

// OpenS3 opens a bucket, as s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION.
// Without an endpoint it is Amazon's. Credentials come from AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY, from the file of shared credentials, or from the machine's
// role. An endpoint is https, or on this machine.
func OpenS3(ctx context.Context, address string) (*S3, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("blobs: %.200q: want s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION", address)
	}
	q := u.Query()
	e := &url.URL{Scheme: "https", Host: "s3.amazonaws.com"}
	if at := q.Get("endpoint"); at != "" {
		if e, err = url.Parse(at); err != nil || e.Host == "" || e.Scheme != "https" && !local(e) {
			return nil, fmt.Errorf("blobs: endpoint %.200q: want https://HOST", at)
		}
	}
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	client, err := minio.New(e.Host, &minio.Options{
		Secure: e.Scheme == "https", Region: q.Get("region"),
		Creds: credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: http.DefaultClient}}),
	})
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	s := &S3{c, client, u.Host, strings.Trim(u.Path, "/")}
	ok, err := client.BucketExists(ctx, s.bucket)
	switch {
	case err != nil:
		return nil, fmt.Errorf("blobs: bucket %s: %w", s.bucket, err)
	case !ok:
		return nil, fmt.Errorf("blobs: bucket %s is not there", s.bucket)
	}
	return s, nil
}

func local(u *url.URL) bool {
	return u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost")
}

func (s *S3) object(digest string) (string, error) {
	name, err := nameOf(digest)
	return path.Join(s.prefix, name), err
}

// Put stores bytes. An object that is there and old is written again, so that it is
// young, and looked for once more: a sweep that had seen the old one may have
// removed it.
func (s *S3) Put(ctx context.Context, data []byte) (string, error) {
	if len(data) > MaxBytes {
		return "", fmt.Errorf("blobs: %d bytes, the limit is %d", len(data), MaxBytes)
	}
	digest := Digest(data)
	name, err := s.object(digest)
	if err != nil {
		return "", err
	}
	for range 3 {
		info, err := s.client.StatObject(ctx, s.bucket, name, minio.StatObjectOptions{})
		switch {
		case err == nil && time.Since(info.LastModified) < fresh:
			return digest, nil
		case err != nil && !absent(err):
			return "", fmt.Errorf("blobs: %w", err)
		}
		packed := s.encoder.EncodeAll(data, nil)
		if _, err = s.client.PutObject(ctx, s.bucket, name, bytes.NewReader(packed), int64(len(packed)), minio.PutObjectOptions{ContentType: "application/zstd"}); err != nil {
			return "", fmt.Errorf("blobs: %w", err)
		}
	}
	return "", fmt.Errorf("blobs: %s was stored three times and is not there", digest)
}

func absent(err error) bool {
	code := minio.ToErrorResponse(err)
	return code.StatusCode == http.StatusNotFound || code.Code == minio.NoSuchKey
}

// Get reads bytes, and checks them.
func (s *S3) Get(ctx context.Context, digest string) ([]byte, error) {
	name, err := s.object(digest)
	if err != nil {
		return nil, err
	}
	o, err := s.client.GetObject(ctx, s.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	defer o.Close()
	if _, err := o.Stat(); err != nil {
		if absent(err) {
			return nil, fmt.Errorf("blobs: %s: %w", digest, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("blobs: %w", err)
	}
	return s.unpack(digest, o)
}

// Sweep removes old objects that are not wanted, and looks at each once more
// before.
func (s *S3) Sweep(ctx context.Context, before time.Time, keep func(string) bool) (removed int, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: strings.TrimPrefix(s.prefix+"/", "/"), Recursive: true}) {
		if o.Err != nil {
			return removed, fmt.Errorf("blobs: %w", o.Err)
		}
		digest, ok := strings.CutSuffix(path.Base(o.Key), ending)
		if !ok || !o.LastModified.Before(before) || keep(digest) {
			continue
		}
		info, err := s.client.StatObject(ctx, s.bucket, o.Key, minio.StatObjectOptions{})
		if absent(err) || err == nil && !info.LastModified.Before(before) {
			continue
		}
		if err == nil {
			err = s.client.RemoveObject(ctx, s.bucket, o.Key, minio.RemoveObjectOptions{})
		}
		if err != nil {
			return removed, fmt.Errorf("blobs: %w", err)
		}
		removed++
	}
	return removed, nil
}
