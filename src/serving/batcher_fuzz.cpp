// What requests say of their turn, and the rows that the batcher joins: an array's text taken apart is the same array.
#include "json/parse.h"
#include "serving/batcher.h"
#include "serving/order.h"

using namespace mr;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view all(reinterpret_cast<const char*>(data), size);
  auto order = serving::order_of(all.substr(0, all.find('\n')), all);
  if (order.priority < 0 || order.priority > serving::kPriorities || order.timeout_ms < 0) std::abort();
  auto parts = serving::elements_of(all);
  auto doc = json::parse(all);
  if (!doc || !doc->is_array()) return 0;
  const auto& rows = doc->get_array();
  serving::form_of_rows(rows);
  const auto text = json::serialize(*doc);
  auto own = serving::elements_of(text);
  if (!own || own->size() != rows.size()) std::abort();
  for (std::size_t i = 0; i < rows.size(); ++i)
    if ((*own)[i] != json::serialize(rows[i])) std::abort();
  return 0;
}
