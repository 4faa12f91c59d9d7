//! Certificates for servers with TLS: an authority and a leaf that it signs.
//!
//! Two of them, because rustls rejects a certificate that is an authority when a server presents it as its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::output;

/// A certificate authority of our own. Its files live as long as the folder it was made in.
pub struct Authority {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    /// Makes an authority in a folder, with the `openssl` program.
    ///
    /// # Errors
    /// What `openssl` printed.
    pub fn new(dir: &Path) -> Result<Authority, String> {
        let authority = Authority { certificate: dir.join("ca.crt"), key: dir.join("ca.key") };
        let mut command = openssl_req(&authority.key);
        command.args(["-x509", "-days", "30", "-subj", "/CN=shadowswap test authority"]);
        command.args([
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]);
        output(command.arg("-out").arg(&authority.certificate))?;
        Ok(authority)
    }

    /// The authority's certificate in PEM, what `sslrootcert` takes.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Makes a key and a certificate `NAME.key`, `NAME.crt` in `dir`, valid for the subject (the user, for a client's) and hosts.
    ///
    /// # Errors
    /// What `openssl` printed.
    pub fn issue(
        &self,
        dir: &Path,
        name: &str,
        subject: &str,
        hosts: &[&str],
    ) -> Result<(PathBuf, PathBuf), String> {
        let file = |suffix: &str| dir.join(format!("{name}.{suffix}"));
        let (key, certificate, request, extensions) = (file("key"), file("crt"), file("csr"), file("ext"));
        output(openssl_req(&key).args(["-subj", &format!("/CN={subject}"), "-out"]).arg(&request))?;
        let alternative = |host: &&str| match host.parse::<std::net::IpAddr>() {
            Ok(address) => format!("IP:{address}"),
            Err(_) => format!("DNS:{host}"),
        };
        let mut text =
            String::from("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n");
        if !hosts.is_empty() {
            let names: Vec<String> = hosts.iter().map(alternative).collect();
            text.push_str(&format!("subjectAltName={}\n", names.join(",")));
        }
        fs::write(&extensions, text).map_err(|e| format!("{}: {e}", extensions.display()))?;
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", "30", "-sha256", "-in"]).arg(&request);
        sign.arg("-CA").arg(&self.certificate).arg("-CAkey").arg(&self.key).arg("-CAcreateserial");
        output(sign.arg("-extfile").arg(&extensions).arg("-out").arg(&certificate))?;
        Ok((key, certificate))
    }
}

fn openssl_req(key: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-sha256",
    ]);
    command.arg("-keyout").arg(key);
    command
}
