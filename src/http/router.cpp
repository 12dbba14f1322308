#include "http/router.h"

#include "text/text.h"
#include "text/uri.h"

namespace mr::http {

namespace {
struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
using ByMethod = std::array<std::shared_ptr<Handler>, 8>;

struct Pattern {
  std::vector<std::string> segments;  // "{x}" or literal; the last may be "{x...}"
  bool tail = false;
  ByMethod handlers;
};
}  // namespace

struct Router::Impl {
  std::unordered_map<std::string, ByMethod, Hash, std::equal_to<>> exact;
  std::vector<Pattern> patterns;
};

Router::Router() : impl_(std::make_unique<Impl>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

void Router::add(Method method, std::string_view pattern, Handler handler) {
  auto h = std::make_shared<Handler>(std::move(handler));
  if (pattern.find('{') == std::string_view::npos) {
    impl_->exact[std::string(pattern)][static_cast<std::size_t>(method)] = std::move(h);
    return;
  }
  std::vector<std::string> segments;
  for (auto s : text::split(pattern.substr(1), '/')) segments.emplace_back(s);
  for (auto& p : impl_->patterns)
    if (p.segments == segments) {
      p.handlers[static_cast<std::size_t>(method)] = std::move(h);
      return;
    }
  Pattern p;
  p.tail = segments.back().ends_with("...}");
  p.segments = std::move(segments);
  p.handlers[static_cast<std::size_t>(method)] = std::move(h);
  impl_->patterns.push_back(std::move(p));
}

namespace {

bool match(const Pattern& p, std::string_view path, std::vector<std::string>& params) {
  // Most patterns are other ones by their last part; only what fits as a whole is worth its decoding.
  if (!p.tail && p.segments.back().front() != '{' && path.substr(path.rfind('/') + 1) != p.segments.back())
    return false;
  params.clear();
  std::string_view rest = path.substr(1);
  for (std::size_t i = 0; i < p.segments.size(); ++i) {
    const auto& seg = p.segments[i];
    bool last = i + 1 == p.segments.size();
    if (last && p.tail) {
      auto decoded = text::percent_decode(rest);
      params.push_back(decoded ? *decoded : std::string(rest));
      return !rest.empty();
    }
    auto slash = rest.find('/');
    auto part = rest.substr(0, slash);
    if (slash == std::string_view::npos && !last) return false;
    if (last && slash != std::string_view::npos) return false;
    if (seg.front() == '{') {
      auto close = seg.find('}');
      std::string_view suffix = std::string_view(seg).substr(close + 1);  // "{name}:predict"
      if (!part.ends_with(suffix)) return false;
      part.remove_suffix(suffix.size());
      if (part.empty()) return false;
      auto decoded = text::percent_decode(part);
      params.push_back(decoded ? *decoded : std::string(part));
    } else if (part != seg) {
      return false;
    }
    if (slash != std::string_view::npos) rest.remove_prefix(slash + 1);
  }
  return true;
}

const Handler* pick(const ByMethod& h, Method m) {
  const auto& own = h[static_cast<std::size_t>(m)];
  if (own) return own.get();
  if (m == Method::head) return h[static_cast<std::size_t>(Method::get)].get();
  return nullptr;
}

void note_methods(const ByMethod& h, Router::Match& m) {
  m.other_method = true;
  for (std::size_t i = 0; i < h.size(); ++i)
    if (h[i]) m.allow += (m.allow.empty() ? "" : ", ") + std::string(method_name(static_cast<Method>(i)));
}

}  // namespace

Router::Match Router::find(Method method, std::string_view path) const {
  Match m;
  if (path.empty() || path.front() != '/') return m;
  if (auto it = impl_->exact.find(path); it != impl_->exact.end()) {
    m.handler = pick(it->second, method);
    if (m.handler != nullptr) return m;
    note_methods(it->second, m);
  }
  for (const auto& p : impl_->patterns) {
    if (!match(p, path, m.params)) continue;
    if (const auto* h = pick(p.handlers, method)) {
      m.handler = h;
      m.other_method = false;
      return m;
    }
    note_methods(p.handlers, m);
  }
  m.params.clear();
  return m;
}

}  // namespace mr::http
