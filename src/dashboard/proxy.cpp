// Requests of the pages to the rooms' own APIs: the path is taken over, who asks is the dashboard, and what comes back
// can do nothing in the pages' name.
#include "dashboard/inside.h"
#include "http/files.h"
#include "json/parse.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::dashboard {

namespace {

// What users stored is never a page of ours: opened by its address it has no scripts of this origin, no forms, no way
// out. Previews of HTML run their scripts in an origin of their own.
constexpr const char* kSandbox =
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; media-src data: blob:; frame-ancestors 'self'";

http::Response secured(http::Response res) {
  if (res.status == 101) return res;
  res.headers.set("Content-Security-Policy", std::string(kSandbox));
  res.headers.set("X-Content-Type-Options", std::string("nosniff"));
  if (!res.headers.has("Cache-Control")) res.headers.add("Cache-Control", "no-store");
  return res;
}

http::Response refusal(int status, std::string_view message) {
  return http::Response::json(status, json::serialize(Object{{"kind", "Status"},
                                                             {"apiVersion", "v1"},
                                                             {"status", "Failure"},
                                                             {"message", message},
                                                             {"reason", status == 403 ? "Forbidden" : "BadRequest"},
                                                             {"code", status}}));
}

// The same request with another address. `target` must live as long as the result.
http::Request moved(const http::Request& rq, std::string_view target) {
  http::Request out = rq;
  auto question = target.find('?');
  out.target = target;
  out.path = target.substr(0, question);
  out.query = question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
  return out;
}

// With inline=1 a file is for an <img> or a sandboxed <iframe>, not for the disk: its type is that of its name.
void show_inline(const http::Request& rq, http::Response& res) {
  bool asked = false;
  std::string name(rq.path);
  for (const auto& [k, v] : text::parse_query(rq.query)) {
    if (k == "inline") asked = v == "1";
    if (k == "path") name = v;
  }
  if (!asked || res.status != 200) return;
  http::Headers kept;
  for (const auto& [n, v] : res.headers.items())
    if (!text::iequals(n, "Content-Disposition") && !text::iequals(n, "Content-Type")) kept.add(n, v);
  kept.add("Content-Type", std::string(http::content_type_for(name)));
  res.headers = std::move(kept);
}

constexpr std::string_view kClosedGroups[] = {"rbac.authorization.k8s.io", "certificates.k8s.io",
                                              "admissionregistration.k8s.io", "apiregistration.k8s.io",
                                              "authentication.k8s.io"};

}  // namespace

std::string refused_of_kube(http::Method method, std::string_view path, std::string_view query,
                            std::string_view accept) {
  auto p = text::split(path.substr(std::min<std::size_t>(1, path.size())), '/');
  if (p.empty() || (p[0] != "api" && p[0] != "apis" && p[0] != "openapi" && p[0] != "version"))
    return "the dashboard asks for resources only";
  const bool read = method == http::Method::get || method == http::Method::head;
  const bool core = p[0] == "api";
  if (!core && p.size() > 1 && !read)
    for (auto g : kClosedGroups)
      if (p[1] == g) return "the dashboard does not change who may do what: use kubectl";
  std::size_t i = core ? 2 : 3;
  // The old form of a watch has its own path, which the pages have no use for.
  if (p.size() > i && p[i] == "watch") return "the dashboard watches by watch=true";
  if (p.size() > i + 2 && p[i] == "namespaces") i += 2;
  if (p.size() <= i) return read ? "" : "nothing to change there";
  auto plural = p[i];
  auto sub = p.size() > i + 2 ? p[i + 2] : std::string_view();
  for (std::string_view s : {"exec", "attach", "portforward", "proxy", "token", "ephemeralcontainers"})
    if (sub == s) return fmt::format("the dashboard has no {}: use kubectl", s);
  if (core && plural == "secrets") {
    if (!read) return "the dashboard does not write Secrets: use kubectl";
    bool include_none = false, watch = false;
    for (const auto& [k, v] : text::parse_query(query)) {
      if (k == "includeObject") include_none = v == "None";
      if (k == "watch") watch = watch || v != "false";
    }
    // Every alternative that the client takes must be the table: it has names and sizes, no values.
    for (auto one : text::split(accept, ','))
      if (one.find("as=Table") == std::string_view::npos) include_none = false;
    if (!include_none || watch) return "the dashboard shows no values of Secrets: use kubectl";
  }
  return {};
}

task::Task<http::Response> to_kube(const DashboardDeps& deps, http::Request& rq) {
  constexpr std::string_view kPrefix = "/dashboard/kube";
  auto sub = moved(rq, rq.target.substr(kPrefix.size()));
  auto decoded = text::percent_decode(sub.path);
  // A name that decodes to further parts of a path would pass by the rules below.
  if (!decoded || std::ranges::count(*decoded, '/') != std::ranges::count(sub.path, '/') ||
      decoded->find("//") != std::string::npos)
    co_return secured(refusal(400, "the path is malformed"));
  if (auto why = refused_of_kube(rq.method, *decoded, sub.query, rq.headers.get("Accept")); !why.empty())
    co_return secured(refusal(403, why));
  // Whoever the browser says it is, here it is the dashboard.
  sub.headers.clear();
  for (const auto& [n, v] : rq.headers.items())
    if (!text::iequals(n, "Authorization") && !text::iequals(n, "Upgrade") && !text::iequals(n, "Cookie") &&
        !text::lower(n).starts_with("impersonate-"))
      sub.headers.add(n, v);
  sub.peer = &viewer();
  sub.peer_refused = false;
  co_return secured(co_await deps.kube(sub));
}

task::Task<http::Response> to_tracking(const DashboardDeps& deps, http::Request& rq) {
  constexpr std::string_view kPrefix = "/dashboard/mlflow";
  auto sub = moved(rq, rq.target.substr(kPrefix.size()));
  auto res = co_await deps.tracking(sub);
  show_inline(rq, res);
  co_return secured(std::move(res));
}

task::Task<http::Response> to_objects(const DashboardDeps& deps, http::Request& rq) {
  constexpr std::string_view kPrefix = "/dashboard/s3/";
  auto path = rq.path.substr(std::min(rq.path.size(), kPrefix.size()));
  auto slash = path.find('/');
  auto bucket = text::percent_decode(path.substr(0, slash));
  auto key = text::percent_decode(slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1));
  if (!bucket || !key) co_return secured(refusal(400, "the path is malformed"));
  auto target =
      deps.sign(rq.method_text, std::string(rq.headers.get("Host")), *bucket, *key, text::parse_query(rq.query));
  auto sub = moved(rq, target);
  sub.headers.clear();
  for (const auto& [n, v] : rq.headers.items())
    if (!text::iequals(n, "Authorization") && !text::lower(n).starts_with("x-amz-")) sub.headers.add(n, v);
  auto res = co_await deps.objects(sub);
  show_inline(rq, res);
  co_return secured(std::move(res));
}

bool host_is_ours(std::string_view host, const std::vector<std::string>& allowed) {
  if (host.starts_with('[')) return true;  // an address of IPv6 is no name that could be pointed elsewhere
  auto bare = host.substr(0, host.find(':'));
  if (bare.empty()) return false;
  if (text::iequals(bare, "localhost") || bare.ends_with(".localhost")) return true;
  if (bare.find_first_not_of("0123456789.") == std::string_view::npos) return true;
  return std::ranges::any_of(
      allowed, [&](const std::string& a) { return a == "*" || text::iequals(a, bare) || text::iequals(a, host); });
}

bool same_site(const http::Request& rq) {
  auto site = rq.headers.get("Sec-Fetch-Site");
  if (!site.empty() && site != "same-origin" && site != "none") return false;
  auto origin = rq.headers.get("Origin");
  if (origin.empty()) return true;
  // "null" is what sandboxed documents send: previews of what users stored.
  return text::iequals(text::parse_uri(origin).authority, rq.headers.get("Host"));
}

}  // namespace mr::dashboard
