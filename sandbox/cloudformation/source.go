package cloudformation

import (
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// templateBody is the template that a request brings, in its body or as an
// object of S3, or "" if it brings none.
func templateBody(tx *account.Tx, r *wire.Request) (string, error) {
	body, address := r.String("TemplateBody"), r.String("TemplateURL")
	switch {
	case body != "" && address != "":
		return "", invalid("Cannot specify both TemplateBody and TemplateURL.")
	case address != "":
		return fetch(tx, address)
	case len(body) > maxBody:
		return "", constraint(body[:60]+"...", "templateBody", fmt.Sprintf("Member must have length less than or equal to %d", maxBody))
	}
	return body, nil
}

// fetch reads an object of S3 by its address.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
func fetch(tx *account.Tx, address string) (string, error) {
	if len(address) > maxURL {
		return "", constraint(address[:60]+"...", "templateURL", fmt.Sprintf("Member must have length less than or equal to %d", maxURL))
	}
	bucket, key, version, err := locate(tx, address)
	if err != nil {
		return "", err
	}
	body, err := s3.Content(tx, bucket, key, version)
	if err != nil {
		if e, ok := err.(*account.Error); ok {
			return "", invalid("S3 error: %s\nFor more information check http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html", e.Message)
		}
		return "", err
	}
	if len(body) > maxObject {
		return "", invalid("Template may not exceed %d bytes in size.", maxObject)
	}
	return body, nil
}

// locate reads an object's address: with the bucket in the host's name or in
// the path. A loopback address is where this sandbox itself answers.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
func locate(tx *account.Tx, address string) (bucket, key, version string, err error) {
	unsupported := invalid("TemplateURL must be a supported URL.")
	if strings.HasPrefix(address, "ssm-doc:") {
		return "", "", "", account.NotModelled("templates in Systems Manager documents are not modelled by the sandbox")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", "", "", unsupported
	}
	host, path := u.Hostname(), strings.TrimPrefix(u.Path, "/")
	switch {
	case host == "127.0.0.1" || host == "localhost" || host == "::1":
	case u.Scheme != "https":
		return "", "", "", unsupported
	default:
		name, ok := strings.CutSuffix(host, ".amazonaws.com")
		if !ok {
			if name, ok = strings.CutSuffix(host, ".amazonaws.com.cn"); !ok {
				return "", "", "", unsupported
			}
		}
		region := ""
		switch i := strings.LastIndex("."+name, ".s3"); {
		case i < 0:
			return "", "", "", unsupported
		default:
			// What follows s3 is a region, behind a dot or a dash, or nothing.
			bucket, region = strings.TrimSuffix(name[:i], "."), strings.TrimLeft(name[i+len("s3"):], ".-")
		}
		region = strings.TrimPrefix(region, "dualstack.")
		if region != "" && region != tx.Region() {
			return "", "", "", account.NotModelled("templates in %s are not modelled by the sandbox, which is %s", region, tx.Region())
		}
	}
	if bucket == "" {
		bucket, path, _ = strings.Cut(path, "/")
	}
	if bucket == "" || path == "" {
		return "", "", "", unsupported
	}
	return bucket, path, u.Query().Get("versionId"), nil
}

// templates are those read last, by their text. A template never changes and
// knows nothing of an account, so all sandboxes share them.
var templates memory

// memory keeps what was read, up to a number of bytes of text.
type memory struct {
	mu    sync.Mutex
	kept  map[string]*template.Template
	bytes int
}

const maxMemory = 4 << 20

func (m *memory) parse(body string) (*template.Template, error) {
	m.mu.Lock()
	t := m.kept[body]
	m.mu.Unlock()
	if t != nil {
		return t, nil
	}
	types, err := Known()
	if err != nil {
		return nil, err
	}
	if t, err = template.Parse(body, types); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes += len(body); m.bytes > maxMemory || m.kept == nil {
		m.kept, m.bytes = map[string]*template.Template{}, len(body)
	}
	m.kept[body] = t
	return t, nil
}
