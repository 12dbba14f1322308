#include "dashboard/assets.h"

#include "http/compress.h"
#include "log/log.h"
#include "text/text.h"

// The path comes from CMake; the file is empty where the pages are not built.
asm(".pushsection .rodata\n"
    ".balign 16\n"
    ".global mr_dashboard_pack\n"
    "mr_dashboard_pack:\n"
    ".incbin \"" MILLRACE_WEB_PACK
    "\"\n"
    ".global mr_dashboard_pack_end\n"
    "mr_dashboard_pack_end:\n"
    ".popsection\n");
extern "C" const char mr_dashboard_pack[], mr_dashboard_pack_end[];

namespace mr::dashboard {

namespace {

constexpr std::string_view kMagic = "millrace-web 1\n";
constexpr std::size_t kMaxUnpacked = 16U << 20;

constexpr std::string_view kNotBuilt = R"(<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Millrace</title>
<h1>Millrace is running</h1>
<p>This program was built without its web pages. To have them, install Node.js 18 or newer with npm
(Debian: <code>apt-get install nodejs npm</code>) and build again:</p>
<pre>cmake --preset release -DMILLRACE_WEB=ON
cmake --build --preset release</pre>
<p>Everything else works without them: <code>mlflow</code>, <code>kfp</code>, <code>kubectl</code> and <code>boto3</code>
find their servers at the addresses that <code>millrace up</code> prints.</p></html>
)";

bool matches(std::string_view header, std::string_view etag) {
  for (auto one : text::split(header, ',')) {
    one = text::trim(one);
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == "*" || one == etag) return true;
  }
  return false;
}

}  // namespace

Result<Assets> Assets::read(std::string_view pack) {
  Assets out;
  if (pack.empty()) return out;
  auto broken = [] { return fail(Code::data_loss, "the embedded web pages are malformed"); };
  if (!pack.starts_with(kMagic)) return broken();
  auto rest = pack.substr(kMagic.size());
  // Lines "path TAB type TAB etag TAB size TAB packed size", an empty line, then the files in that order.
  std::vector<std::pair<std::string_view, Asset>> listed;
  std::vector<std::size_t> lengths;
  for (;;) {
    auto end = rest.find('\n');
    if (end == std::string_view::npos) return broken();
    auto line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.empty()) break;
    auto f = text::split(line, '\t');
    if (f.size() != 5) return broken();
    auto size = text::to_u64(f[3]), packed = text::to_u64(f[4]);
    if (!size || !packed || *size > kMaxUnpacked) return broken();
    listed.emplace_back(f[0], Asset{f[1], f[2], {}, *size});
    lengths.push_back(*packed);
  }
  for (std::size_t i = 0; i < listed.size(); ++i) {
    if (lengths[i] > rest.size()) return broken();
    listed[i].second.packed = rest.substr(0, lengths[i]);
    rest.remove_prefix(lengths[i]);
    out.files_.insert(listed[i]);
  }
  if (!rest.empty()) return broken();
  return out;
}

const Assets& Assets::embedded() {
  static const Assets assets = [] {
    auto read = Assets::read({mr_dashboard_pack, static_cast<std::size_t>(mr_dashboard_pack_end - mr_dashboard_pack)});
    if (read) return std::move(*read);
    log::error("the dashboard has no pages", {{"error", read.error().message}});
    return Assets{};
  }();
  return assets;
}

const Asset* Assets::find(std::string_view path) const {
  auto it = files_.find(path);
  return it == files_.end() ? nullptr : &it->second;
}

http::Response asset_response(const http::Request& rq, const Asset* asset, bool immutable) {
  if (asset == nullptr) return http::Response::text(404, "not found\n");
  http::Response res;
  auto known = rq.headers.get("If-None-Match");
  if (!known.empty() && matches(known, asset->etag)) {
    res.status = 304;
  } else {
    res.headers.add("Content-Type", std::string(asset->type));
    if (http::accepts_gzip(rq.headers.get("Accept-Encoding"))) {
      res.headers.add("Content-Encoding", "gzip");
      res.body = std::string(asset->packed);
    } else {
      http::Inflater inflater;
      std::string plain;
      if (auto r = inflater.feed(asset->packed, plain, asset->size); !r)
        return http::Response::text(500, "the file is damaged\n");
      res.body = std::move(plain);
    }
  }
  res.headers.add("ETag", std::string(asset->etag));
  res.headers.add("Vary", "Accept-Encoding");
  res.headers.add("Cache-Control", immutable ? "public, max-age=31536000, immutable" : "no-cache");
  return res;
}

http::Response index_response(const http::Request& rq, const Assets& assets) {
  if (assets.empty()) return http::Response::text(200, std::string(kNotBuilt), "text/html; charset=utf-8");
  return asset_response(rq, assets.find("index.html"), false);
}

}  // namespace mr::dashboard
