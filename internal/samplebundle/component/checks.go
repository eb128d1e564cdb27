package component

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// core are the core API's checks.
func (c *component) core() []check {
	list := []check{
		c.identity(), c.database(),
		c.written("code and docs", "CODE_DOCS_BUCKET", true), c.written("audit", "AUDIT_BUCKET", true), c.written("telemetry", "TELEMETRY_BUCKET", true),
		c.key(), c.checkpoint(), c.told(),
	}
	if c.Env("INFERENCE_URL") != "" {
		list = append(list, c.asked("model server", "INFERENCE_URL", "/v1/models", false))
	}
	return list
}

// entrance are the checks of what people and API clients come to.
func (c *component) entrance() []check {
	list := []check{c.asked("core API", "CORE_API_URL", "/healthz", true), c.told()}
	if file := c.Env("SIGN_ON_SECRET"); file != "" {
		list = append(list, check{"sign-on client", true, func(context.Context) (string, error) {
			text, err := os.ReadFile(file)
			if err == nil && len(bytes.TrimSpace(text)) == 0 {
				err = errors.New("it is empty")
			}
			if err != nil {
				return "", fmt.Errorf("read the client's secret: %w", err)
			}
			return "the client's secret is at " + filepath.Base(filepath.Dir(file)), nil
		}})
	}
	return list
}

// identity says by which role AWS is called.
func (c *component) identity() check {
	return check{"identity", true, func(ctx context.Context) (string, error) {
		out, err := sts.NewFromConfig(c.AWS).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", fmt.Errorf("ask who calls: %w", short(err))
		}
		return aws.ToString(out.Arn), nil
	}}
}

// written writes an object once, and wants to read it each time, encrypted by the
// storage key. A role that can't read has the answer to the writing looked at.
func (c *component) written(purpose, variable string, readable bool) check {
	var (
		mu   sync.Mutex
		key  string
		body []byte
		by   string // the key by which it was encrypted
	)
	return check{"bucket of " + purpose, true, func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		v, err := c.need(variable, "STORAGE_KEY_ARN")
		if err != nil {
			return "", err
		}
		client := c.s3()
		if key == "" {
			name := "sample/" + c.name() + "/" + c.Now().UTC().Format("20060102T150405Z") + "-" + rand.Text()[:8] + ".json"
			body = fmt.Appendf(nil, `{"component": %q, "event": "started", "time": %q}`+"\n", c.name(), c.Now().UTC().Format(time.RFC3339))
			out, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &v[0], Key: &name, Body: bytes.NewReader(body), ContentType: aws.String("application/json")})
			if err != nil {
				return "", fmt.Errorf("write to %s: %w", v[0], short(err))
			}
			key, by = name, aws.ToString(out.SSEKMSKeyId)
		}
		did := "an object was written"
		if readable {
			out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &v[0], Key: &key})
			if err != nil {
				return "", fmt.Errorf("read %s in %s: %w", key, v[0], short(err))
			}
			got, err := io.ReadAll(io.LimitReader(out.Body, mostBody))
			if err = errors.Join(err, out.Body.Close()); err != nil {
				return "", fmt.Errorf("read %s in %s: %w", key, v[0], err)
			}
			if !bytes.Equal(got, body) {
				return "", fmt.Errorf("%s in %s is not what was written", key, v[0])
			}
			did, by = "an object was written and read", aws.ToString(out.SSEKMSKeyId)
		}
		if by != v[1] {
			return "", fmt.Errorf("%s in %s is encrypted by %q, not by %s", key, v[0], by, v[1])
		}
		return did + " in " + v[0] + ", encrypted by " + by, nil
	}}
}

// key encrypts and decrypts with the application's key.
func (c *component) key() check {
	return check{"application key", true, func(ctx context.Context) (string, error) {
		v, err := c.need("APPLICATION_KEY_ARN")
		if err != nil {
			return "", err
		}
		plain := []byte(rand.Text())
		about := map[string]string{"component": c.Role}
		client := kms.NewFromConfig(c.AWS)
		sealed, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: &v[0], Plaintext: plain, EncryptionContext: about})
		if err != nil {
			return "", fmt.Errorf("encrypt by %s: %w", v[0], short(err))
		}
		opened, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: &v[0], CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: about})
		if err != nil {
			return "", fmt.Errorf("decrypt by %s: %w", v[0], short(err))
		}
		if !bytes.Equal(opened.Plaintext, plain) {
			return "", fmt.Errorf("what %s decrypts is not what it encrypted", v[0])
		}
		return "encrypted and decrypted by " + v[0], nil
	}}
}

// Checkpoints lie below this prefix of the bucket of models, a folder each, and an
// object of this name in it says that the whole of it is there.
const (
	checkpoints = "models/checkpoints/"
	complete    = "/.checkpoint-complete"
)

// checkpoint looks for the checkpoint that the chart names, or for any.
func (c *component) checkpoint() check {
	return check{"checkpoint", false, func(ctx context.Context) (string, error) {
		v, err := c.need("MODELS_BUCKET")
		if err != nil {
			return "", err
		}
		client, name := c.s3(), c.Env("CHECKPOINT")
		if name != "" {
			out, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &v[0], Key: aws.String(checkpoints + name + complete)})
			if err != nil {
				return "", fmt.Errorf("%s is not complete in %s: %w; poolhouse models push brings it", name, v[0], short(err))
			}
			return fmt.Sprintf("%s is complete in %s since %s", name, v[0], aws.ToTime(out.LastModified).UTC().Format(time.RFC3339)), nil
		}
		out, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &v[0], Prefix: aws.String(checkpoints), Delimiter: aws.String("/")})
		if err != nil {
			return "", fmt.Errorf("list checkpoints in %s: %w", v[0], short(err))
		}
		var names []string
		for _, p := range out.CommonPrefixes {
			names = append(names, strings.Trim(strings.TrimPrefix(aws.ToString(p.Prefix), checkpoints), "/"))
		}
		if len(names) == 0 {
			return "", fmt.Errorf("none is in %s; poolhouse models push brings one", v[0])
		}
		return "in " + v[0] + ": " + strings.Join(names, ", "), nil
	}}
}

// asked asks another component, if a variable names one.
func (c *component) asked(name, variable, path string, required bool) check {
	return check{name, required, func(ctx context.Context) (string, error) {
		at := c.Env(variable)
		if at == "" {
			return "", fmt.Errorf("%s is not set", variable)
		}
		if err := c.call(ctx, http.MethodGet, at+path, ""); err != nil {
			return "", err
		}
		if strings.HasPrefix(at, "https:") {
			return at + " answers; " + c.verified(), nil
		}
		return at + " answers", nil
	}}
}

// told sends a record to the telemetry collector, once: it answers when the bucket has it,
// and each is an object there.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
func (c *component) told() check {
	var (
		mu   sync.Mutex
		done bool
	)
	return check{"telemetry", false, func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		at := c.Env("TELEMETRY_URL")
		if at == "" {
			return "", errors.New("TELEMETRY_URL is not set")
		}
		if done {
			return "a record was taken by " + at, nil
		}
		record := fmt.Sprintf(`{"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": %q}}]}, "scopeLogs": [{"logRecords": [{"timeUnixNano": "%d", "severityText": "INFO", "body": {"stringValue": "reported"}}]}]}]}`, c.Role, c.Now().UnixNano())
		if err := c.call(ctx, http.MethodPost, at+"/v1/logs", record); err != nil {
			return "", err
		}
		done = true
		return "a record was taken by " + at, nil
	}}
}

// call wants the answer 200.
func (c *component) call(ctx context.Context, method, at, body string) (err error) {
	r, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := c.calls.Do(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", at, res.Status, bytes.TrimSpace(text))
	}
	return nil
}

// s3 names buckets in paths: the way from pods to a sandbox knows no names of buckets.
func (c *component) s3() *s3.Client {
	return s3.NewFromConfig(c.AWS, func(o *s3.Options) { o.UsePathStyle = true })
}

// name is the pod's, or where there is none the role.
func (c *component) name() string {
	if pod := c.Env("POD_NAME"); pod != "" {
		return pod
	}
	return c.Role
}

// short is an error of AWS's without what the SDK says around it.
func short(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	return err
}
