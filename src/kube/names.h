// The forms of names, labels and other small texts, with the real server's words about what is wrong with one.
// Each returns the faults; none: the text is well formed. Pure functions.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mr::kube {

using Faults = std::vector<std::string>;

Faults dns_label(std::string_view s);       // RFC 1123 label: namespaces, containers, volumes
Faults dns_subdomain(std::string_view s);   // RFC 1123 subdomain: most objects
Faults dns_1035_label(std::string_view s);  // Services
Faults wildcard_subdomain(std::string_view s);
Faults path_segment(std::string_view s);  // RBAC objects: anything that fits into a path
Faults qualified_name(std::string_view s);
Faults label_value(std::string_view s);
Faults env_name(std::string_view s);
Faults config_key(std::string_view s);  // keys of ConfigMaps and Secrets
Faults port_name(std::string_view s);
Faults http_header_name(std::string_view s);
Faults port_number(std::int64_t n);

std::string join(const Faults& f, std::string_view separator = "; ");
// "must be no more than N characters"
std::string max_length_fault(std::size_t n);

// A quantity in thousandths ("500m" is 500, "1Gi" 1073741824000), nullopt when it is not one. Clamped, never
// overflowing.
std::optional<std::int64_t> quantity_milli(std::string_view s);
// The form in which the real server keeps a quantity: "1024Mi" is "1Gi", "0.5" is "500m". nullopt: leave it as it is.
std::optional<std::string> canonical_quantity_text(std::string_view s);
extern const std::string_view quantity_fault;

// The letters that the real server makes name parts of: no vowels, so no words; nothing that looks like another.
inline constexpr std::string_view kNameLetters = "bcdfghjklmnpqrstvwxz2456789";
// `prefix`, cut so that it fits, and five random letters: metadata.generateName.
std::string generated_name(std::string_view prefix);

// An IPv4 or IPv6 address; a prefix in CIDR form.
bool is_ip(std::string_view s);
bool is_cidr(std::string_view s);

}  // namespace mr::kube
