//! Where the tunnel's files are, for those who only look at them.

use std::path::PathBuf;

use clap::Args;

/// The folder in which `setup-tunnel.sh` keeps the tunnel's files.
#[derive(Debug, Clone, Default, Args)]
pub struct TunnelArgs {
    /// Folder of the tunnel's key and configuration [default: DATA_ROOT/tunnel]
    // text, since an empty variable counts as unset
    #[arg(long, env = "TUNNEL_DIR", value_name = "FOLDER")]
    tunnel_dir: Option<String>,
    /// Folder of everything that the scripts write [default: ./data]
    #[arg(long, env = "DATA_ROOT", value_name = "FOLDER")]
    data_root: Option<String>,
}

impl TunnelArgs {
    /// The folder.
    pub fn folder(&self) -> PathBuf {
        let given =
            |folder: &Option<String>| folder.clone().filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let root = || given(&self.data_root).unwrap_or_else(|| PathBuf::from("./data"));
        given(&self.tunnel_dir).unwrap_or_else(|| root().join("tunnel"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_or_in_the_data() {
        let folder = |tunnel: Option<&str>, root: Option<&str>| {
            let [tunnel_dir, data_root] = [tunnel, root].map(|text| text.map(str::to_owned));
            TunnelArgs { tunnel_dir, data_root }.folder().display().to_string()
        };
        assert_eq!(folder(None, None), "./data/tunnel");
        assert_eq!(folder(Some(""), Some("/srv")), "/srv/tunnel");
        assert_eq!(folder(Some("/t"), Some("/srv")), "/t");
    }
}
