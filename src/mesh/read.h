// Reading rule documents: members with their path, so that a fault names its field. Internal to mesh/. Not thread safe.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"
#include "mesh/types.h"

namespace mr::mesh {

// A value and the path to it. Absent values are nodes too, with v == nullptr.
struct Node {
  const kube::Value* v = nullptr;
  std::string path;
  [[nodiscard]] bool present() const { return v != nullptr && !v->is_null(); }
  [[nodiscard]] Node at(std::string_view key) const;
  [[nodiscard]] std::vector<Node> items() const;                            // of an array
  [[nodiscard]] std::vector<std::pair<std::string, Node>> members() const;  // of an object
};

// Reads typed values and remembers the first fault.
class Reader {
 public:
  std::string text(const Node& n, std::string_view otherwise = {});
  std::int64_t number(const Node& n, std::int64_t otherwise, std::int64_t low, std::int64_t high);
  double percent(const Node& n, double otherwise);  // {value: 12.5}
  long duration_ms(const Node& n);                  // "1.5s", "1m30s"; 0 when absent
  std::vector<std::string> texts(const Node& n);
  Pairs pairs(const Node& n);
  TextMatch match(const Node& n, bool fold = false);
  HeaderOps header_ops(const Node& n);
  void fault(const Node& n, std::string_view what);
  [[nodiscard]] const std::string& first_fault() const { return fault_; }
  [[nodiscard]] bool ok() const { return fault_.empty(); }

 private:
  std::string fault_;
};

// "300ms", "1.5s", "1m30s", "2h"; nullopt for anything else or more than a year.
std::optional<long> parse_duration_ms(std::string_view s);

}  // namespace mr::mesh
