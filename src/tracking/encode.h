// JSON of answers, in the field order of MLflow's messages. Pure functions.
#pragma once
#include <string>

#include "json/writer.h"
#include "tracking/types.h"

namespace mr::tracking {

void write(json::Writer& w, const Experiment& e);
void write(json::Writer& w, const RunInfo& i);
void write(json::Writer& w, const Run& r, bool outputs = true);
void write(json::Writer& w, const LoggedModel& m);
void write(json::Writer& w, const ModelVersion& v);
void write(json::Writer& w, const RegisteredModel& m);
// run_id is written when not empty (bulk histories).
void write_metric(json::Writer& w, const Metric& m, const std::string& run_id = {});
void write_pairs(json::Writer& w, std::string_view key, const Tags& pairs);  // left out when empty

// One object made by fill(writer), indented as the real server does.
template <class F>
std::string object(F fill) {
  std::string out;
  json::Writer w(out, 2);
  w.begin_object();
  fill(w);
  w.end_object();
  return out;
}
// {"key": [items…], "next_page_token": …}, both left out when empty.
template <class T>
std::string page_object(std::string_view key, const Page<T>& page) {
  return object([&](json::Writer& w) {
    if (!page.items.empty()) {
      w.key(key);
      w.begin_array();
      for (const auto& i : page.items) write(w, i);
      w.end_array();
    }
    if (!page.next_token.empty()) w.field("next_page_token", page.next_token);
  });
}
std::string_view status_name(ModelStatus s);

}  // namespace mr::tracking
