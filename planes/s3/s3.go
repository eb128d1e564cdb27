// Package s3 is an S3 server on loopback, for one client that has its
// credentials: versitygw with files in a folder. What it holds, and who may have
// it, is the sandbox's affair.
//
// Limits: one server a process, which takes its working directory; no
// encryption, lifecycle or public access block.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// Bucket is the bucket that is there from the start.
const Bucket = "poolhouse"

// Region is the region that requests are signed for.
const Region = "us-east-1"

// Credentials are the only ones that open the server.
type Credentials struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
}

// Options describe a server.
type Options struct {
	// Dir is the folder of its data, and Address the loopback address and port
	// that it listens on; empty takes a free one.
	Dir, Address string
	Credentials  Credentials
	// Ready is told the address once the server answers there.
	Ready func(address string)
}

// healthPath answers without credentials.
const healthPath = "/healthz"

// Serve answers until the context ends.
func Serve(ctx context.Context, o Options) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(filepath.Join(data, Bucket), 0o700); err != nil {
		return err
	}
	store, sidecars, err := metadata(dir, data)
	if err != nil {
		return fmt.Errorf("keep metadata in %s: %w", dir, err)
	}
	backend, err := posix.New(data, store, posix.PosixOpts{
		SideCarDir: sidecars, NewDirPerm: 0o700, NewFilePerm: 0o600, CopyObjectThreshold: 5 << 30, ForceNoObjLockFile: true,
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", data, err)
	}
	address, err := free(ctx, o.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
			RootUserAccess: o.Credentials.AccessKeyID, RootUserSecret: o.Credentials.SecretAccessKey, Region: Region,
			Ports: []string{address}, MaxConnections: 1024, MaxRequests: 512, MultipartMaxParts: 10000,
			Quiet: true, KeepAlive: true, DisableACLs: true, HealthPath: healthPath,
		})
	}()
	if err := answers(ctx, "http://"+address+healthPath, served); err != nil {
		return err
	}
	o.Ready(address)
	return <-served
}

// metadata is how facts about files are kept: with the files where the file
// system can, else in a folder beside them.
func metadata(dir, data string) (meta.MetadataStorer, string, error) {
	if err := (meta.XattrMeta{}).Test(data); err == nil {
		return meta.XattrMeta{}, "", nil
	}
	beside := filepath.Join(dir, "metadata")
	if err := os.MkdirAll(beside, 0o700); err != nil {
		return nil, "", err
	}
	store, err := meta.NewSideCar(beside)
	return store, beside, err
}

// free is an address that nobody listens on: the one asked for, or some.
func free(ctx context.Context, address string) (string, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return "", fmt.Errorf("%s is no loopback address with a port", address)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers waits until a server answers, or has ended.
func answers(ctx context.Context, url string, served <-chan error) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case err := <-served:
			return errors.Join(errors.New("the server ended before it answered"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
