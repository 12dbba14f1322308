#include "mesh/host.h"

#include "text/text.h"

namespace mr::mesh {

std::optional<ServiceHost> service_of_host(std::string_view host, std::string_view own_ns) {
  auto low = text::lower(host);
  if (low.empty() || low.find('*') != std::string::npos) return std::nullopt;
  auto parts = text::split(low, '.');
  for (auto p : parts)
    if (p.empty()) return std::nullopt;
  if (parts.size() == 1) return ServiceHost{std::string(own_ns), std::string(parts[0])};
  if (parts.size() == 2) return ServiceHost{std::string(parts[1]), std::string(parts[0])};
  if (parts[2] != "svc") return std::nullopt;
  if (parts.size() == 3 || (parts.size() == 5 && parts[3] == "cluster" && parts[4] == "local"))
    return ServiceHost{std::string(parts[1]), std::string(parts[0])};
  return std::nullopt;
}

std::string full_host(std::string_view host, std::string_view own_ns) {
  auto low = text::lower(host);
  if (low.empty() || low.find('.') != std::string::npos || low.find('*') != std::string::npos) return low;
  return fmt::format("{}.{}.svc.{}", low, own_ns, kClusterDomain);
}

std::string host_of_authority(std::string_view authority) {
  std::string_view h = authority;
  if (h.starts_with('[')) {
    auto end = h.find(']');
    h = end == std::string_view::npos ? std::string_view{} : h.substr(1, end - 1);
  } else if (auto colon = h.rfind(':'); colon != std::string_view::npos) {
    h = h.substr(0, colon);
  }
  if (h.ends_with('.')) h.remove_suffix(1);
  return text::lower(h);
}

bool host_covers(std::string_view pattern, std::string_view host) {
  if (pattern == "*") return true;
  if (pattern.starts_with("*.")) return host.size() > pattern.size() - 1 && host.ends_with(pattern.substr(1));
  return pattern == host;
}

bool valid_host_pattern(std::string_view host) {
  if (host == "*") return true;
  if (host.starts_with("*.")) host.remove_prefix(2);
  if (host.empty() || host.size() > 253) return false;
  for (auto part : text::split(host, '.')) {
    if (part.empty() || part.size() > 63 || part.front() == '-' || part.back() == '-') return false;
    for (char c : part)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
        return false;
  }
  return true;
}

}  // namespace mr::mesh
