#include "kube/names.h"

#include <arpa/inet.h>

#include "crypto/random.h"
#include "text/text.h"

namespace mr::kube {

namespace {

bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool alnum(char c) { return letter(c) || digit(c); }

// Ends are of `end`, all of `end` or among `inner`.
template <class End>
bool shaped(std::string_view s, End end, std::string_view inner) {
  if (s.empty() || !end(s.front()) || !end(s.back())) return false;
  return std::ranges::all_of(s, [&](char c) { return end(c) || inner.find(c) != std::string_view::npos; });
}

bool subdomain_shape(std::string_view s) {
  for (auto part : text::split(s, '.'))
    if (!shaped(part, lower_or_digit, "-")) return false;
  return !s.empty();
}

std::string form_fault(std::string_view what, std::string_view form, std::initializer_list<std::string_view> examples) {
  std::string out(what);
  out += " (";
  if (examples.size() > 0) {
    out += "e.g. ";
    bool first = true;
    for (auto e : examples) {
      if (!first) out += " or ";
      first = false;
      out += fmt::format("'{}', ", e);
    }
  }
  out += fmt::format("regex used for validation is '{}')", form);
  return out;
}

}  // namespace

std::string max_length_fault(std::size_t n) { return fmt::format("must be no more than {} characters", n); }

std::string join(const Faults& f, std::string_view separator) { return fmt::format("{}", fmt::join(f, separator)); }

Faults dns_label(std::string_view s) {
  Faults f;
  if (s.size() > 63) f.push_back(max_length_fault(63));
  if (!shaped(s, lower_or_digit, "-"))
    f.push_back(
        form_fault("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
                   "must start and end with an alphanumeric character",
                   "[a-z0-9]([-a-z0-9]*[a-z0-9])?", {"my-name", "123-abc"}));
  return f;
}

Faults dns_subdomain(std::string_view s) {
  Faults f;
  if (s.size() > 253) f.push_back(max_length_fault(253));
  if (!subdomain_shape(s))
    f.push_back(
        form_fault("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
                   "'.', and must start and end with an alphanumeric character",
                   R"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)", {"example.com"}));
  return f;
}

Faults dns_1035_label(std::string_view s) {
  Faults f;
  if (s.size() > 63) f.push_back(max_length_fault(63));
  if (!shaped(s, lower_or_digit, "-") || digit(s.front()))
    f.push_back(
        form_fault("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
                   "alphabetic character, and end with an alphanumeric character",
                   "[a-z]([-a-z0-9]*[a-z0-9])?", {"my-name", "abc-123"}));
  return f;
}

Faults wildcard_subdomain(std::string_view s) {
  Faults f;
  if (s.size() > 253) f.push_back(max_length_fault(253));
  if (!s.starts_with("*.") || !subdomain_shape(s.substr(2)))
    f.push_back(
        form_fault("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
                   "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
                   "character",
                   R"(\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)", {"*.example.com"}));
  return f;
}

Faults path_segment(std::string_view s) {
  if (s == ".") return {"may not be '.'"};
  if (s == "..") return {"may not be '..'"};
  Faults f;
  for (char c : {'/', '%'})
    if (s.find(c) != std::string_view::npos) f.push_back(fmt::format("may not contain '{}'", c));
  return f;
}

Faults qualified_name(std::string_view s) {
  constexpr std::string_view form = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
  constexpr std::string_view what =
      "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
  Faults f;
  auto parts = text::split(s, '/');
  std::string_view name = s;
  if (parts.size() == 2) {
    name = parts[1];
    if (parts[0].empty())
      f.emplace_back("prefix part must be non-empty");
    else
      for (const auto& e : dns_subdomain(parts[0])) f.push_back("prefix part " + e);
  } else if (parts.size() > 2) {
    return {"a qualified name " + form_fault(what, form, {"MyName", "my.name", "123-abc"}) +
            " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"};
  }
  if (name.empty()) f.emplace_back("name part must be non-empty");
  if (name.size() > 63) f.push_back("name part " + max_length_fault(63));
  if (!shaped(name, alnum, "-_.")) f.push_back("name part " + form_fault(what, form, {"MyName", "my.name", "123-abc"}));
  return f;
}

Faults label_value(std::string_view s) {
  Faults f;
  if (s.size() > 63) f.push_back(max_length_fault(63));
  if (!s.empty() && !shaped(s, alnum, "-_."))
    f.push_back(
        form_fault("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
                   "'.', and must start and end with an alphanumeric character",
                   "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", {"MyValue", "my_value", "12345"}));
  return f;
}

Faults env_name(std::string_view s) {
  if (s.empty()) return {"environment variable name must be non-empty"};
  bool printable = std::ranges::all_of(s, [](char c) { return c >= 0x20 && c < 0x7f && c != '='; });
  if (printable) return {};
  return {"a valid environment variable name must consist only of printable ASCII characters other than '='"};
}

Faults config_key(std::string_view s) {
  Faults f;
  if (s.size() > 253) f.push_back(max_length_fault(253));
  if (s.empty() || !std::ranges::all_of(s, [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; }))
    f.push_back(form_fault("a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                           "[-._a-zA-Z0-9]+", {"key.name", "KEY_NAME", "key-name"}));
  if (s == ".") f.emplace_back("must not be '.'");
  if (s == "..")
    f.emplace_back("must not be '..'");
  else if (s.starts_with(".."))
    f.emplace_back("must not start with '..'");
  return f;
}

Faults port_name(std::string_view s) {
  Faults f;
  if (s.size() > 15) f.emplace_back("must be no more than 15 characters");
  bool ok = !s.empty() && std::ranges::all_of(s, [](char c) { return lower_or_digit(c) || c == '-'; });
  if (!ok) f.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (std::ranges::none_of(s, [](char c) { return c >= 'a' && c <= 'z'; }))
    f.emplace_back("must contain at least one letter (a-z)");
  if (s.find("--") != std::string_view::npos) f.emplace_back("must not contain consecutive hyphens");
  if (!s.empty() && (s.front() == '-' || s.back() == '-')) f.emplace_back("must not begin or end with a hyphen");
  return f;
}

Faults http_header_name(std::string_view s) {
  if (!s.empty() && std::ranges::all_of(s, [](char c) { return alnum(c) || c == '-'; })) return {};
  return {form_fault("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+",
                     {"X-Header-Name"})};
}

Faults port_number(std::int64_t n) {
  if (n >= 1 && n <= 65535) return {};
  return {"must be between 1 and 65535, inclusive"};
}

const std::string_view quantity_fault =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

std::optional<std::int64_t> quantity_milli(std::string_view s) {
  bool negative = false;
  if (s.starts_with('-') || s.starts_with('+')) {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  std::size_t end = 0;
  bool dot = false, any = false;
  while (end < s.size() && (digit(s[end]) || (s[end] == '.' && !dot))) {
    dot |= s[end] == '.';
    any |= digit(s[end]);
    ++end;
  }
  if (!any) return std::nullopt;
  auto number = std::string(s.substr(0, end));
  auto suffix = s.substr(end);
  double scale = 0;
  constexpr std::pair<std::string_view, double> scales[] = {
      {"", 1e3},           {"m", 1},          {"u", 1e-3},          {"n", 1e-6},          {"k", 1e6},
      {"M", 1e9},          {"G", 1e12},       {"T", 1e15},          {"P", 1e18},          {"E", 1e21},
      {"Ki", 1024e3},      {"Mi", 1048576e3}, {"Gi", 1073741824e3}, {"Ti", 0x1p40 * 1e3}, {"Pi", 0x1p50 * 1e3},
      {"Ei", 0x1p60 * 1e3}};
  for (const auto& [name, by] : scales)
    if (name == suffix) scale = by;
  if (scale == 0) {
    if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) return std::nullopt;
    auto exponent = suffix.substr(1);
    if (exponent.starts_with('+')) exponent.remove_prefix(1);
    auto e = text::to_i64(exponent);
    if (!e || *e > 30 || *e < -30) return std::nullopt;
    scale = std::pow(10.0, double(*e)) * 1e3;
  }
  if (number.starts_with('.')) number.insert(0, 1, '0');
  double v = 0;
  if (std::from_chars(number.data(), number.data() + number.size(), v).ec == std::errc::result_out_of_range) v = 1e30;
  v = std::min(v * scale, 9e18);
  auto milli = static_cast<std::int64_t>(std::ceil(v));  // the real one rounds up as well
  return negative ? -milli : milli;
}

std::optional<std::string> canonical_quantity_text(std::string_view s) {
  if (!quantity_milli(s)) return std::nullopt;
  const bool negative = s.starts_with('-');
  if (s.starts_with('-') || s.starts_with('+')) s.remove_prefix(1);
  std::size_t end = 0, point = std::string_view::npos;
  __int128 n = 0;
  std::size_t count = 0;
  for (; end < s.size() && (digit(s[end]) || s[end] == '.'); ++end) {
    if (s[end] == '.') {
      point = end;
      continue;
    }
    n = n * 10 + (s[end] - '0');
    if (++count > 18) return std::nullopt;
  }
  auto decimals = point == std::string_view::npos ? 0 : end - point - 1;
  auto suffix = s.substr(end);
  auto shown = [&](__int128 v, std::string_view unit) {
    return fmt::format("{}{}{}", negative && v != 0 ? "-" : "", static_cast<std::uint64_t>(v), unit);
  };
  if (suffix.size() == 2 && suffix[1] == 'i') {
    constexpr std::string_view powers = "KMGTPE";
    auto power = powers.find(suffix[0]);
    if (power == std::string_view::npos) return std::nullopt;
    for (std::size_t i = 0; i <= power; ++i) n *= 1024;
    for (; decimals > 0; --decimals) {
      if (n % 10 != 0) return std::nullopt;
      n /= 10;
    }
    if (n > INT64_MAX) return std::nullopt;
    std::size_t k = 0;
    while (k < powers.size() && n != 0 && n % 1024 == 0) {
      n /= 1024;
      ++k;
    }
    return shown(n, k == 0 ? "" : fmt::format("{}i", powers[k - 1]));
  }
  // In thousandths, rounded up; then in the largest unit that keeps it whole.
  int exponent = 0;
  constexpr std::pair<std::string_view, int> units[] = {{"n", -6}, {"u", -3}, {"m", 0},  {"", 3},   {"k", 6},
                                                        {"M", 9},  {"G", 12}, {"T", 15}, {"P", 18}, {"E", 21}};
  bool known = false;
  for (auto [name, e] : units)
    if (name == suffix) {
      exponent = e;
      known = true;
    }
  if (!known) return std::nullopt;  // in the form 1e3, which stays
  exponent -= static_cast<int>(decimals);
  for (; exponent > 0; --exponent) {
    n *= 10;
    if (n > static_cast<__int128>(INT64_MAX) * 1000) return std::nullopt;
  }
  for (; exponent < 0; ++exponent) n = n / 10 + (n % 10 != 0 ? 1 : 0);
  std::size_t k = 2;
  while (k + 1 < std::size(units) && n != 0 && n % 1000 == 0) {
    n /= 1000;
    ++k;
  }
  if (n == 0) return "0";
  return shown(n, units[k].first);
}

bool is_ip(std::string_view s) {
  std::string text(s);
  unsigned char buf[16];
  return inet_pton(AF_INET, text.c_str(), buf) == 1 || inet_pton(AF_INET6, text.c_str(), buf) == 1;
}

bool is_cidr(std::string_view s) {
  auto slash = s.find('/');
  if (slash == std::string_view::npos || !is_ip(s.substr(0, slash))) return false;
  auto bits = text::to_u64(s.substr(slash + 1));
  return bits && *bits <= (s.find(':') == std::string_view::npos ? 32u : 128u);
}

std::string generated_name(std::string_view prefix) {
  std::string name(prefix.substr(0, 58));
  for (int i = 0; i < 5; ++i) name += kNameLetters[crypto::random_u64() % kNameLetters.size()];
  return name;
}

}  // namespace mr::kube
