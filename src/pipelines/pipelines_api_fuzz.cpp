// What clients send to the pipelines API: messages, filters with sort and page token (run against a real table), forms
// and archives. The first byte says which.
#include "json/parse.h"
#include "pipelines/filter.h"
#include "pipelines/messages.h"
#include "pipelines/package_file.h"
#include "temp_dir.h"
#include "text/text.h"

using namespace mr;
using namespace mr::pipelines;

namespace {

Store& table() {
  static mr::testing::TempDir folder;
  static auto store = Store::open(folder.file("fuzz.db")).value();
  return *store;
}

void read_and_write(std::string_view input, const MessageType& type) {
  auto m = read_message(input, type);
  if (!m) {
    if (m.error().message.empty()) std::abort();
    return;
  }
  // What was written is a message again, and the same one.
  const auto text = write_message(type, *m);
  auto again = read_message(text, type);
  if (!again) std::abort();
  if (write_message(type, *again) != text) std::abort();
}

void list(std::string_view input) {
  const auto cut = input.find('\n');
  text::QueryPairs query{{"filter", std::string(input.substr(0, cut))}};
  if (cut != std::string_view::npos) {
    const auto rest = input.substr(cut + 1);
    query.emplace_back("sort_by", std::string(rest));
    query.emplace_back("page_token", text::base64_encode(rest));
  }
  for (const auto* collection : {&kRuns, &kPipelines, &kExperiments}) {
    auto q = read_list_query(query, *collection);
    if (!q) continue;
    ListQuery back;
    if (!read_filter_document(filter_document(*q), back)) std::abort();
    // Refused for a reason, or answered: never a statement that the database does not take.
    auto check = [](const auto& page) {
      if (!page && page.error().code == Code::internal) std::abort();
    };
    if (collection == &kRuns) check(table().runs(*q));
    if (collection == &kPipelines) check(table().pipelines(*q));
    if (collection == &kExperiments) check(table().experiments(*q));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 6) {
    case 0:
      read_and_write(input, wire::kRun);
      break;
    case 1:
      read_and_write(input, wire::kRecurringRun);
      break;
    case 2:
      list(input);
      break;
    case 3:
      if (auto f = form_file("multipart/form-data; boundary=XX", input, "uploadfile"))
        if (f->bytes.size() > input.size()) std::abort();
      (void)form_file(input, "--XX\r\n\r\n\r\n--XX--", "uploadfile");
      break;
    case 4:
      (void)package_text("p.zip", input);
      break;
    default:
      read_and_write(input, wire::kCreatePipelineAndVersion);
  }
  return 0;
}
