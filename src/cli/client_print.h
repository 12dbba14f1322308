// How the client commands show objects: the server's Tables in aligned columns, documents as YAML. Pure functions but
// for TablePrinter, which belongs to one thread.
#pragma once
#include <string>
#include <vector>

#include "kube/object.h"

namespace mr::cli {

// Keys in order, lists not indented below their key, texts quoted only where they must be: kubectl's form.
std::string yaml_text(const kube::Value& v, std::size_t indent = 0);
// The same indented by two, with keys in order.
std::string json_text(const kube::Value& v);

struct TableLook {
  bool wide = false;
  bool with_namespace = false;
  bool with_labels = false;
  bool headers = true;
  std::string name_prefix;  // "pod/" where several kinds are shown
};

// Prints Tables of one kind in columns that grow and do not shrink, so that what a watch adds stays aligned.
class TablePrinter {
 public:
  explicit TablePrinter(TableLook look) : look_(std::move(look)) {}
  // The rows of `table`; its column names before the first. Column definitions are kept for Tables without.
  std::string print(const kube::Object& table);

 private:
  TableLook look_;
  kube::Array columns_;
  std::vector<std::size_t> widths_;
  bool headed_ = false;
};

// Rows of texts in columns, three blanks apart; `widths` are grown by them.
std::string aligned(const std::vector<std::vector<std::string>>& rows, std::vector<std::size_t>& widths);

}  // namespace mr::cli
