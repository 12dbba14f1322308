// Model files as skops: the input is schema.json and one .npy member, zipped here so that the fuzzer need not find out
// about CRCs; and the raw bytes as a file and as an array.
#include "serving/formats/skops.h"

#include <archive.h>
#include <archive_entry.h>

#include "serving/engines/linear.h"

using namespace mr;
using namespace mr::serving;

namespace {

std::string zip(std::string_view schema, std::string_view npy) {
  std::string out(schema.size() + npy.size() + 4096, '\0');
  std::size_t used = 0;
  auto* a = archive_write_new();
  archive_write_set_format_zip(a);
  archive_write_zip_set_compression_store(a);
  archive_write_open_memory(a, out.data(), out.size(), &used);
  for (auto [name, bytes] : {std::pair{"schema.json", schema}, std::pair{"a.npy", npy}}) {
    auto* e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, static_cast<la_int64_t>(bytes.size()));
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_write_header(a, e);
    archive_write_data(a, bytes.data(), bytes.size());
    archive_entry_free(e);
  }
  archive_write_close(a);
  archive_write_free(a);
  out.resize(used);
  return out;
}

void load(std::string_view bytes) {
  ReadLimits limits;
  limits.max_bytes = 4U << 20;
  limits.max_nodes = 100'000;
  auto tree = read_skops(bytes, limits);
  if (!tree) return;
  auto engine = make_linear_engine(*tree, "predict", "1.5.0");
  if (!engine || (*engine)->features() > 1000) return;
  Frame f;
  f.rows = 1;
  f.columns = (*engine)->features();
  f.data.assign(f.columns, 0.5);
  (void)(*engine)->predict(f);
}

}  // namespace

// The npy member starts after a NUL; JSON has none.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)read_npy(input);
  load(input);
  auto nul = input.find('\0');
  load(zip(input.substr(0, nul), nul == std::string_view::npos ? std::string_view{} : input.substr(nul + 1)));
  return 0;
}
