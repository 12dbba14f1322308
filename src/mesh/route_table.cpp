#include "mesh/route_table.h"

#include "mesh/host.h"
#include "mesh/text_match.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::mesh {

namespace {

// All values of a header, joined as one list; nullopt when absent.
std::optional<std::string> header_of(const RequestView& rq, std::string_view name) {
  std::optional<std::string> all;
  for (const auto& [n, v] : rq.headers) {
    if (!text::iequals(n, name)) continue;
    if (all)
      all->append(",").append(v);
    else
      all.emplace(v);
  }
  return all;
}

bool meets(const Condition& c, const RequestView& rq) {
  if (c.uri && !c.uri->matches(rq.path)) return false;
  if (c.method && !c.method->matches(rq.method)) return false;
  if (c.scheme && !c.scheme->matches(rq.scheme)) return false;
  if (c.authority && !c.authority->matches(rq.authority)) return false;
  for (const auto& [name, m] : c.headers) {
    auto v = header_of(rq, name);
    if (!v || !m.matches(*v)) return false;
  }
  for (const auto& [name, m] : c.without_headers) {
    auto v = header_of(rq, name);
    if (v && m.matches(*v)) return false;
  }
  if (!c.query.empty()) {
    auto pairs = text::parse_query(rq.query);
    for (const auto& [name, m] : c.query) {
      auto it = std::ranges::find(pairs, name, &std::pair<std::string, std::string>::first);
      if (it == pairs.end() || !m.matches(it->second)) return false;
    }
  }
  return true;
}

struct Hit {
  const HttpRoute* route = nullptr;
  const Condition* by = nullptr;
};

// The first route, in the order written, that the request meets.
Hit first_of(const std::vector<HttpRoute>& routes, const RequestView& rq) {
  for (const auto& r : routes) {
    const Condition* by = nullptr;
    bool met = r.conditions.empty();
    for (const auto& c : r.conditions) {
      if (!meets(c, rq)) continue;
      met = true;
      by = &c;
      break;
    }
    if (!met) continue;
    if (r.delegated.empty()) return {&r, by};
    Hit inner = first_of(r.delegated, rq);
    if (inner.route == nullptr) continue;
    if (inner.by == nullptr || !inner.by->uri) inner.by = by;  // the matched part of the path is the outer rule's
    return inner;
  }
  return {};
}

// Between rules of different objects the closer one wins: exact, then regex, then the longest prefix, then the rest.
std::size_t closeness(const Condition* by) {
  if (by == nullptr || !by->uri) return 0;
  switch (by->uri->kind) {
    case TextMatch::Kind::exact:
      return SIZE_MAX;
    case TextMatch::Kind::regex:
      return SIZE_MAX - 1;
    case TextMatch::Kind::prefix:
      return 1 + by->uri->text.size();
    default:
      return 0;
  }
}

}  // namespace

Match RouteTable::match(const RequestView& rq) const {
  Match m;
  auto host = host_of_authority(rq.authority);
  const Domain* domain = nullptr;
  if (auto it = exact_.find(host); it != exact_.end()) domain = &it->second;
  // The longest suffix first: each dot from the left.
  for (auto dot = host.find('.'); domain == nullptr && dot != std::string::npos; dot = host.find('.', dot + 1))
    if (auto it = suffix_.find(std::string_view(host).substr(dot)); dot > 0 && it != suffix_.end())
      domain = &it->second;
  m.host_known = domain != nullptr;
  if (domain == nullptr) domain = &all_;
  std::size_t best = 0;
  for (auto i : domain->rules) {
    Hit h = first_of(rules_[i].routes, rq);
    if (h.route == nullptr) continue;
    auto c = closeness(h.by);
    if (m.route != nullptr && c <= best) continue;
    best = c;
    m.route = h.route;
    m.by = h.by;
  }
  return m;
}

const DestinationPolicy* RouteTable::policy(std::string_view ns, std::string_view service) const {
  auto it = policies_.find(fmt::format("{}/{}", ns, service));
  return it == policies_.end() ? nullptr : &it->second;
}

std::string rewritten_path(const HttpRoute& route, const Condition* by, std::string_view path) {
  if (!route.rewrite) return std::string(path);
  const Rewrite& w = *route.rewrite;
  if (w.pattern) {
    auto p = replace_all(*w.pattern, path, w.substitution);
    return p.starts_with('/') ? p : "/" + p;
  }
  if (!w.uri) return std::string(path);
  if (by != nullptr && by->uri && by->uri->kind == TextMatch::Kind::prefix) {
    auto rest = path.substr(std::min(path.size(), by->uri->text.size()));
    // `/x` to `/` would leave two slashes before the rest.
    if (w.uri->ends_with('/') && !by->uri->text.ends_with('/') && rest.starts_with('/')) rest.remove_prefix(1);
    std::string out = *w.uri;
    out += rest;
    return out.starts_with('/') ? out : "/" + out;
  }
  return w.uri->starts_with('/') ? *w.uri : "/" + *w.uri;
}

std::string redirect_location(const Redirect& r, const Condition* by, const RequestView& rq) {
  std::string path = r.uri ? *r.uri : std::string(rq.path);
  // A redirect may keep what follows the matched prefix.
  if (path == "%PREFIX()%")
    path = by != nullptr && by->uri && by->uri->kind == TextMatch::Kind::prefix ? by->uri->text : std::string(rq.path);
  auto authority = r.authority.empty() ? std::string(rq.authority) : r.authority;
  if (r.port) {
    auto host = host_of_authority(authority);
    if (host.find(':') != std::string::npos) host = "[" + host + "]";
    auto scheme = r.scheme.empty() ? rq.scheme : std::string_view(r.scheme);
    bool usual = (scheme == "http" && *r.port == 80) || (scheme == "https" && *r.port == 443);
    authority = usual ? host : fmt::format("{}:{}", host, *r.port);
  }
  auto out = fmt::format("{}://{}{}", r.scheme.empty() ? rq.scheme : std::string_view(r.scheme), authority, path);
  if (!rq.query.empty() && path.find('?') == std::string::npos) out.append("?").append(rq.query);
  return out;
}

const Weighted* choose(const HttpRoute& route, std::uint64_t draw) {
  if (route.to.empty()) return nullptr;
  if (route.to.size() == 1) return route.to.data();
  std::uint64_t total = 0;
  for (const auto& w : route.to) total += w.weight;
  if (total == 0) return nullptr;
  draw %= total;
  for (const auto& w : route.to) {
    if (draw < w.weight) return &w;
    draw -= w.weight;
  }
  return nullptr;
}

std::optional<std::string> normal_path(std::string_view path) {
  std::string p;
  p.reserve(path.size());
  bool plain = true;
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '\\') c = '/';
    if (c == '%' && i + 2 < path.size() && path[i + 1] == '2' && (path[i + 2] == 'e' || path[i + 2] == 'E')) {
      c = '.';
      i += 2;
    }
    if (c == '.' && p.ends_with('/')) plain = false;
    p += c;
  }
  if (plain) return p;
  std::vector<std::string_view> kept;
  std::string_view all(p);
  bool slash = false;  // whether the last segment kept ends with one
  for (std::size_t at = 1; at <= all.size();) {
    auto end = all.find('/', at);
    auto part = all.substr(at, end == std::string_view::npos ? end : end - at);
    bool last = end == std::string_view::npos;
    if (part == "..") {
      if (kept.empty()) return std::nullopt;
      kept.pop_back();
      slash = true;
    } else if (part == ".") {
      slash = true;
    } else {
      if (!last || !part.empty()) kept.push_back(part);
      slash = !last || part.empty();
    }
    if (last) break;
    at = end + 1;
  }
  std::string out;
  for (auto k : kept) out.append("/").append(k);
  if (slash || out.empty()) out += '/';
  return out;
}

}  // namespace mr::mesh
