// Package browser holds a test that signs in at a deployment with a real
// browser: see .ci/run browser.
package browser
