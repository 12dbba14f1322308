#include "serving/controller/storage.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "http/client.h"
#include "json/parse.h"
#include "serving/types.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::serving {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxFiles = 10'000;
constexpr std::uint64_t kMaxUnpacked = 16ULL << 30;
constexpr int kMaxRedirects = 5;

std::string get(const Environment& env, std::string_view name) {
  auto it = env.find(std::string(name));
  return it == env.end() ? std::string() : it->second;
}

bool yes(std::string_view v) { return v == "1" || text::iequals(v, "true") || text::iequals(v, "yes"); }

std::string without_slashes(std::string_view p) {
  while (p.starts_with('/')) p.remove_prefix(1);
  while (p.ends_with('/')) p.remove_suffix(1);
  return std::string(p);
}

// STORAGE_CONFIG (an entry of the secret storage-config) first, then the variables of a credentials secret.
S3Access access_of(const Environment& env) {
  S3Access a;
  if (auto config = get(env, "STORAGE_CONFIG"); !config.empty())
    if (auto doc = json::parse(config); doc && doc->is_object()) {
      auto text = [&](std::string_view k) { return std::string(json::string_or_empty(*doc, k)); };
      a.endpoint = text("endpoint_url");
      a.access_key = text("access_key_id");
      a.secret_key = text("secret_access_key");
      a.region = text("region").empty() ? text("default_region") : text("region");
      const auto* anonymous = json::find(*doc, "anonymous");
      a.anonymous = yes(text("anonymous")) || (anonymous != nullptr && anonymous->is_bool() && anonymous->get_bool());
      return a;
    }
  a.access_key = get(env, "AWS_ACCESS_KEY_ID");
  a.secret_key = get(env, "AWS_SECRET_ACCESS_KEY");
  a.region = get(env, "AWS_DEFAULT_REGION");
  a.anonymous = yes(get(env, "awsAnonymousCredential"));
  a.endpoint = get(env, "AWS_ENDPOINT_URL");
  if (a.endpoint.empty())
    if (auto host = get(env, "S3_ENDPOINT"); !host.empty()) {
      auto https = get(env, "S3_USE_HTTPS");
      a.endpoint = (https.empty() || yes(https) ? "https://" : "http://") + host;
    }
  return a;
}

// A Service's name in a URL replaced by its address, where there is one.
std::string resolved(const StorageOptions& options, const std::string& url) {
  if (!options.resolve) return url;
  auto u = text::parse_uri(url);
  auto colon = u.authority.rfind(':');
  auto host = u.authority.substr(0, colon);
  int port = u.scheme == "https" ? 443 : 80;
  if (colon != std::string::npos) {
    auto p = text::to_i64(std::string_view(u.authority).substr(colon + 1));
    if (!p || *p < 1 || *p > 65535) return url;
    port = static_cast<int>(*p);
  }
  auto address = options.resolve(host, port);
  if (address.empty()) return url;
  return u.scheme + "://" + address + u.path + (u.query.empty() ? "" : "?" + u.query);
}

Result<std::string> fetch_s3(const StorageOptions& options, const text::Uri& u, const Environment& env,
                             const std::string& target, const std::atomic<bool>& stop) {
  if (!options.bucket) return fail(Code::unimplemented, "s3:// is not available here");
  if (u.authority.empty()) return fail(Code::invalid_argument, "an s3:// URI has the form s3://BUCKET/KEY");
  auto access = access_of(env);
  if (!access.endpoint.empty()) access.endpoint = resolved(options, access.endpoint);
  auto prefix = without_slashes(u.path);
  MR_TRY(auto files, options.bucket(access, u.authority, prefix, target, stop));
  if (files == 0)
    return fail(Code::not_found,
                fmt::format("Failed to fetch model. No model found in {}.", prefix.empty() ? u.authority : prefix));
  return target;
}

// Unpacks an archive of any format libarchive reads, below `target`; names that climb out are refused.
Result<void> unpack(const std::string& file, const std::string& target) {
  struct Closer {
    void operator()(archive* a) const { archive_read_free(a); }
  };
  std::unique_ptr<archive, Closer> in(archive_read_new());
  archive_read_support_format_zip(in.get());
  archive_read_support_format_tar(in.get());
  archive_read_support_filter_gzip(in.get());
  if (archive_read_open_filename(in.get(), file.c_str(), 1 << 16) != ARCHIVE_OK)
    return fail(Code::invalid_argument, "the downloaded archive is neither zip nor tar");
  std::size_t files = 0;
  std::uint64_t bytes = 0;
  archive_entry* entry = nullptr;
  for (;;) {
    int r = archive_read_next_header(in.get(), &entry);
    if (r == ARCHIVE_EOF) return {};
    if (r != ARCHIVE_OK) return fail(Code::invalid_argument, "the downloaded archive is broken");
    auto type = archive_entry_filetype(entry);
    if (type != AE_IFREG) continue;  // folders come with their files; links are not followed
    const char* raw = archive_entry_pathname(entry);
    std::string name = raw == nullptr ? "" : raw;
    while (name.starts_with("./")) name.erase(0, 2);
    auto safe = text::safe_relative_path(name);
    if (!safe)
      return fail(Code::invalid_argument,
                  fmt::format("the archive's member '{}' leaves the model's folder", printable(name)));
    if (++files > kMaxFiles) return fail(Code::too_large, "the model has more files than are fetched");
    fs::path place = fs::path(target) / *safe;
    std::error_code ec;
    fs::create_directories(place.parent_path(), ec);
    std::ofstream out(place, std::ios::binary);
    char buffer[1 << 16];
    for (;;) {
      auto n = archive_read_data(in.get(), buffer, sizeof buffer);
      if (n < 0) return fail(Code::invalid_argument, "the downloaded archive is broken");
      if (n == 0) break;
      bytes += static_cast<std::uint64_t>(n);
      if (bytes > kMaxUnpacked) return fail(Code::too_large, "the archive unpacks to more than 16 GiB");
      out.write(buffer, n);
    }
    out.close();
    if (!out) return fail(Code::resource_exhausted, "a fetched file cannot be written; is the disk full?");
  }
}

// Headers for a host come from a credentials secret as JSON in the variable HOST-headers.
http::Headers headers_for(const Environment& env, const std::string& host) {
  http::Headers out;
  auto text = get(env, host + "-headers");
  if (text.empty()) return out;
  auto doc = json::parse(text);
  if (!doc || !doc->is_object()) return out;
  for (const auto& [k, v] : doc->get_object())
    if (v.is_string()) out.add(std::string(k), std::string(v.get_string()));
  return out;
}

Result<std::string> fetch_http(const StorageOptions& options, const std::string& uri, const Environment& env,
                               const std::string& target, const std::atomic<bool>& stop) {
  auto u = text::parse_uri(uri);
  // A query may carry a token.
  const auto shown = printable(std::string_view(uri).substr(0, uri.find('?')));
  auto slash = u.path.rfind('/');
  auto name = text::percent_decode(slash == std::string::npos ? u.path : u.path.substr(slash + 1)).value_or("");
  if (!text::safe_relative_path(name) || name.find('/') != std::string::npos)
    return fail(Code::invalid_argument, fmt::format("No filename contained in URI: {}", shown));
  std::error_code ec;
  fs::create_directories(target, ec);
  auto file = fs::path(target) / name;
  http::Client client;
  auto url = uri;
  for (int hop = 0;; ++hop) {
    if (hop > kMaxRedirects) return fail(Code::unavailable, fmt::format("URI: {} redirects too often.", shown));
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    http::ClientRequest rq;
    rq.url = resolved(options, url);
    rq.headers = headers_for(env, text::parse_uri(url).authority);
    rq.sink = [&](std::string_view piece) {
      return !stop && static_cast<bool>(out.write(piece.data(), static_cast<std::streamsize>(piece.size())));
    };
    auto res = client.send(rq);
    if (!res) return fail(Code::unavailable, fmt::format("URI: {}: {}", shown, res.error().message));
    out.close();
    if (res->status >= 300 && res->status < 400 && res->headers.has("Location")) {
      std::string to(res->headers.get("Location"));
      if (to.starts_with("/")) {
        auto at = text::parse_uri(url);
        to = at.scheme + "://" + at.authority + to;
      }
      if (!to.starts_with("http://") && !to.starts_with("https://"))
        return fail(Code::unavailable, fmt::format("URI: {} redirects to what is no http address.", shown));
      url = to;
      continue;
    }
    if (res->status != 200)
      return fail(Code::not_found, fmt::format("URI: {} returned a {} response code.", shown, res->status));
    if (!out) return fail(Code::resource_exhausted, "a fetched file cannot be written; is the disk full?");
    break;
  }
  auto lower = text::lower(name);
  if (lower.ends_with(".zip") || lower.ends_with(".tar") || lower.ends_with(".tgz") || lower.ends_with(".tar.gz")) {
    MR_CHECK(unpack(file.string(), target));
    fs::remove(file, ec);
  }
  return target;
}

constexpr std::string_view kPrefixes[] = {
    "gs://",  "s3://",         "pvc://",       "file://", "https://",      "http://",  "hdfs://", "webhdfs://",
    "oci://", "oci+native://", "oci+fetch://", "hf://",   "modelscope://", "models:/", "runs:/",  "mlflow-artifacts:/"};

}  // namespace

Result<void> check_storage_uri(const std::string& uri) {
  for (auto p : kPrefixes)
    if (uri.starts_with(p)) return {};
  if (uri.find("://") == std::string::npos && !uri.empty()) return {};  // a local path
  std::string list;
  for (auto p : kPrefixes) list += fmt::format("{}{}", list.empty() ? "" : " ", p);
  return fail(
      Code::invalid_argument,
      fmt::format("storageUri, must be one of: [{}] or match https://{{}}.blob.core.windows.net/{{}}/{{}} or be "
                  "an absolute or relative local path. StorageUri [{}] is not supported",
                  list, printable(uri)));
}

Result<std::string> fetch_storage(const StorageOptions& options, const std::string& uri, const Environment& env,
                                  const std::string& target, const std::atomic<bool>& stop) {
  MR_CHECK(check_storage_uri(uri));
  auto u = text::parse_uri(uri);
  std::error_code ec;
  if (u.scheme.empty() || u.scheme == "file") {
    auto path = u.scheme.empty() ? uri : text::percent_decode(u.path).value_or(u.path);
    if (!fs::exists(path, ec))
      return fail(Code::not_found, fmt::format("Local path {} does not exist.", printable(path)));
    return fs::absolute(path, ec).lexically_normal().string();
  }
  if (u.scheme == "s3") return fetch_s3(options, u, env, target, stop);
  if (u.scheme == "http" || u.scheme == "https") return fetch_http(options, uri, env, target, stop);
  if (u.scheme == "models" || u.scheme == "runs" || u.scheme == "mlflow-artifacts") {
    if (!options.tracked) return fail(Code::unimplemented, fmt::format("{}:/ is not available here", u.scheme));
    return options.tracked(uri, target);
  }
  return fail(
      Code::unimplemented,
      fmt::format("Cannot recognize storage type for {}\n{}:// cannot be fetched by this program; 's3://', 'http://', "
                  "'https://', 'file://', 'pvc://', 'models:/', 'runs:/' and 'mlflow-artifacts:/' can.",
                  printable(uri), u.scheme));
}

namespace {

// A server's tag of the file, or its time, where that is old enough to have been the last change.
std::string http_state(const StorageOptions& options, const std::string& uri, const Environment& env) {
  http::Client client;
  auto url = uri;
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    http::ClientRequest rq;
    rq.method = http::Method::head;
    rq.url = resolved(options, url);
    rq.headers = headers_for(env, text::parse_uri(url).authority);
    auto res = client.send(rq);
    if (!res) return {};
    std::string to(res->headers.get("Location"));
    if (res->status >= 300 && res->status < 400 && !to.empty()) {
      auto at = text::parse_uri(url);
      if (to.starts_with("/")) to = at.scheme + "://" + at.authority + to;
      if (!to.starts_with("http://") && !to.starts_with("https://")) return {};
      url = to;
      continue;
    }
    if (res->status != 200) return {};
    auto tag = std::string(res->headers.get("ETag"));
    if (tag.empty() || tag.starts_with("W/")) {
      auto changed = time::parse_http_date(std::string(res->headers.get("Last-Modified")));
      auto now = time::parse_http_date(std::string(res->headers.get("Date")));
      if (changed <= 0 || now - changed < 60) return {};
      tag = std::to_string(changed);
    }
    return fmt::format("{}\n{}\n{}\n{}", uri, url, tag, res->headers.get("Content-Length"));
  }
  return {};
}

}  // namespace

std::string storage_state(const StorageOptions& options, const std::string& uri, const Environment& env) {
  auto u = text::parse_uri(uri);
  if (u.scheme == "http" || u.scheme == "https") return http_state(options, uri, env);
  if (u.scheme == "s3" && options.bucket_state && !u.authority.empty()) {
    auto access = access_of(env);
    if (!access.endpoint.empty()) access.endpoint = resolved(options, access.endpoint);
    return options.bucket_state(access, u.authority, without_slashes(u.path));
  }
  if ((u.scheme == "models" || u.scheme == "runs" || u.scheme == "mlflow-artifacts") && options.tracked_state)
    return options.tracked_state(uri);
  return {};
}

}  // namespace mr::serving
