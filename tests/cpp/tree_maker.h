// Model trees made by hand, as a reader of files would make them, for tests of what is built from them.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "serving/formats/tree.h"

namespace mr::serving {

// The node ids that its functions give are good for its own tree.
class TreeMaker {
 public:
  Tree t;
  NodeId text(std::string s) { return leaf({.kind = NodeKind::text, .text = std::move(s)}); }
  NodeId boolean(bool b) { return leaf({.kind = NodeKind::boolean, .integer = b ? 1 : 0}); }
  NodeId integer(std::int64_t i) { return leaf({.kind = NodeKind::integer, .integer = i}); }
  NodeId real(double d) { return leaf({.kind = NodeKind::real, .real = d}); }
  NodeId tuple(std::vector<NodeId> items) { return leaf({.kind = NodeKind::tuple, .items = std::move(items)}); }
  NodeId list(std::vector<NodeId> items) { return leaf({.kind = NodeKind::list, .items = std::move(items)}); }
  NodeId array(std::vector<std::int64_t> shape, std::vector<double> numbers, char kind = 'f', int itemsize = 8) {
    t.arrays.push_back({kind, itemsize, std::move(shape), std::move(numbers), {}});
    return leaf({.kind = NodeKind::array, .array = static_cast<std::int32_t>(t.arrays.size()) - 1});
  }
  NodeId texts(std::vector<std::string> s) {
    t.arrays.push_back({'O', 8, {static_cast<std::int64_t>(s.size())}, {}, std::move(s)});
    return leaf({.kind = NodeKind::array, .array = static_cast<std::int32_t>(t.arrays.size()) - 1});
  }
  NodeId object(const std::string& cls, std::vector<std::pair<const char*, NodeId>> state) {
    Node dict{.kind = NodeKind::dict};
    for (auto& [k, v] : state) {
      dict.items.push_back(text(k));
      dict.items.push_back(v);
    }
    auto state_id = t.add(std::move(dict));
    auto symbol = leaf({.kind = NodeKind::symbol, .text = cls});
    return leaf({.kind = NodeKind::object, .callee = symbol, .state = state_id});
  }

 private:
  NodeId leaf(Node n) { return t.add(std::move(n)); }
};

}  // namespace mr::serving
