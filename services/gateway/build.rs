//! Takes the console into the program, if `services/console/build.sh` has built it. Without, the gateway has its small page.

use flate2::{Compression, write::GzEncoder};
use std::{env, error::Error, fmt::Write as _, fs, io::Write as _, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let built = Path::new("../console/dist");
    println!("cargo:rerun-if-changed={}", built.display());
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR")?;
    let mut table = String::from("&[\n");
    if built.join("index.html").is_file() {
        take(built, "index.html", &out, &mut table)?;
        let mut assets: Vec<_> = fs::read_dir(built.join("assets"))?.collect::<Result<_, _>>()?;
        assets.sort_by_key(fs::DirEntry::file_name);
        for asset in assets {
            let name = asset.file_name().into_string().map_err(|name| format!("{name:?}: no UTF-8"))?;
            take(built, &format!("assets/{name}"), &out, &mut table)?;
        }
    }
    table.push(']');
    fs::write(Path::new(&out).join("console.rs"), table)?;
    Ok(())
}

/// One file, compressed: browsers all take it so, and for who does not it is unpacked.
fn take(built: &Path, path: &str, out: &str, table: &mut String) -> Result<(), Box<dyn Error>> {
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return Err(format!("{path}: a kind of file that the console has not had so far").into()),
    };
    let packed = Path::new(out).join(path.replace('/', "-") + ".gz");
    let mut encoder = GzEncoder::new(fs::File::create(&packed)?, Compression::best());
    encoder.write_all(&fs::read(built.join(path))?)?;
    encoder.finish()?;
    writeln!(table, "    File {{ path: {path:?}, kind: {kind:?}, packed: include_bytes!({packed:?}) }},")?;
    Ok(())
}
