#include "text/uri.h"

#include <cctype>

#include "text/text.h"

namespace mr::text {

namespace {
int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

std::optional<std::string> percent_decode(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '%') {
      out += s[i];
      continue;
    }
    if (i + 2 >= s.size()) return std::nullopt;
    int hi = hex_value(s[i + 1]);
    int lo = hex_value(s[i + 2]);
    if (hi < 0 || lo < 0) return std::nullopt;
    out += static_cast<char>(hi * 16 + lo);
    i += 2;
  }
  return out;
}

std::string percent_encode(std::string_view s, std::string_view keep) {
  static const char* digits = "0123456789ABCDEF";
  std::string out;
  out.reserve(s.size() + 16);
  for (char c : s) {
    bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                 c == '_' || c == '~' || keep.find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      auto u = static_cast<unsigned char>(c);
      out += '%';
      out += digits[u >> 4];
      out += digits[u & 15];
    }
  }
  return out;
}

QueryPairs parse_query(std::string_view query) {
  QueryPairs out;
  auto decode = [](std::string_view s) {
    std::string plus(s);
    for (char& c : plus)
      if (c == '+') c = ' ';
    auto d = percent_decode(plus);
    return d ? *d : plus;
  };
  for (auto part : split(query, '&')) {
    if (part.empty()) continue;
    auto eq = part.find('=');
    out.emplace_back(decode(part.substr(0, eq)),
                     eq == std::string_view::npos ? std::string() : decode(part.substr(eq + 1)));
  }
  return out;
}

Uri parse_uri(std::string_view s) {
  Uri u;
  auto colon = s.find(':');
  auto slash = s.find('/');
  bool has_scheme = colon != std::string_view::npos && colon > 1 && (slash == std::string_view::npos || colon < slash);
  if (has_scheme) {
    u.scheme = lower(s.substr(0, colon));
    s.remove_prefix(colon + 1);
    if (s.starts_with("//")) {
      s.remove_prefix(2);
      auto end = s.find_first_of("/?#");
      u.authority = s.substr(0, end);
      s = end == std::string_view::npos ? std::string_view{} : s.substr(end);
    }
  }
  if (auto hash = s.find('#'); has_scheme && hash != std::string_view::npos) {
    u.fragment = s.substr(hash + 1);
    s = s.substr(0, hash);
  }
  if (auto q = s.find('?'); has_scheme && q != std::string_view::npos) {
    u.query = s.substr(q + 1);
    s = s.substr(0, q);
  }
  u.path = s;
  return u;
}

Result<std::string> safe_relative_path(std::string_view p) {
  auto bad = [] { return fail(Code::invalid_argument, "Invalid path"); };
  if (p.empty() || p.front() == '/' || p.find('\0') != std::string_view::npos || p.find('\\') != std::string_view::npos)
    return bad();
  if (p.size() >= 2 && p[1] == ':' && ((p[0] | 32) >= 'a' && (p[0] | 32) <= 'z')) return bad();
  if (p.size() > 4096) return bad();
  if (p.back() == '/') p.remove_suffix(1);
  for (auto seg : split(p, '/'))
    if (seg.empty() || seg == "." || seg == ".." || seg.size() > 255) return bad();
  return std::string(p);
}

Result<std::string> safe_artifact_path(std::string_view p) {
  auto bad = [] { return fail(Code::invalid_argument, "Invalid path"); };
  if (p.empty() || p.size() > 4096 || p.find('\0') != std::string_view::npos) return bad();
  std::string layer(p);
  for (int i = 0; i < 10; ++i) {
    if (layer.starts_with('/') || layer.starts_with("\\\\")) return bad();
    if (layer.size() >= 3 && layer[1] == ':' && (layer[2] == '/' || layer[2] == '\\') &&
        std::isalpha(static_cast<unsigned char>(layer[0])) != 0)
      return bad();
    for (auto seg : split(layer, '/'))
      if (seg == "..") return bad();
    auto next = percent_decode(layer);
    if (!next || *next == layer) break;
    layer = std::move(*next);
  }
  if (p.back() == '/') p.remove_suffix(1);
  for (auto seg : split(p, '/'))
    if (seg.empty() || seg == "." || seg.size() > 255) return bad();
  return std::string(p);
}

}  // namespace mr::text
