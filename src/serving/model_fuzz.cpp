// Model files as pickles, joblib or skops, from bytes to the answers of every estimator that is read: what a file says
// is refused with a reason, or answers rows of numbers and of texts in the shape that it says.
#include "serving/engines/estimator.h"
#include "serving/engines/linear.h"
#include "serving/formats/pickle.h"
#include "serving/formats/skops.h"
#include "text/text.h"

using namespace mr;
using namespace mr::serving;

namespace {

struct Dice {
  std::uint64_t state = 88172645463325252U;
  std::uint64_t next() {
    state ^= state << 13U;
    state ^= state >> 7U;
    state ^= state << 17U;
    return state;
  }
};

double some_number(Dice& dice, bool missing) {
  switch (dice.next() % 12) {
    case 0:
      return missing ? std::nan("") : 0;
    case 1:
      return 0;
    case 2:
      return static_cast<double>(dice.next() % 9);
    case 3:
      return missing ? INFINITY : 1e18;
    default:
      return static_cast<double>(dice.next() % 4001) / 1000 - 2;
  }
}

enum class Kind : std::uint8_t { numbers, floats, holes, texts, mixed };

Frame some_rows(const Engine& engine, Kind kind, std::size_t rows, Dice& dice) {
  static const char* const words[] = {"", "a", "red", "London", "the cat sat on the mat", "\xc3\xa9t\xc3\xa9 12"};
  Frame f;
  f.rows = rows;
  f.columns = engine.features() != 0 ? engine.features() : 1 + dice.next() % 3;
  f.names = engine.feature_names();
  if (f.names.size() != f.columns) f.names.clear();
  f.f32 = kind == Kind::floats;
  for (std::size_t i = 0; i < f.rows * f.columns; ++i) {
    auto v = some_number(dice, kind == Kind::holes || kind == Kind::mixed);
    f.data.push_back(f.f32 ? static_cast<double>(static_cast<float>(v)) : v);
  }
  for (std::size_t c = 0; c < f.columns; ++c) {
    if (kind != Kind::texts && (kind != Kind::mixed || dice.next() % 2 == 0)) continue;
    TextColumn column;
    for (std::size_t r = 0; r < f.rows; ++r) {
      f.data[r * f.columns + c] = std::nan("");
      column.values.emplace_back(words[dice.next() % std::size(words)]);
      column.missing.push_back(dice.next() % 7 == 0 ? 1 : 0);
    }
    f.texts[c] = std::move(column);
  }
  return f;
}

void check(const Output& out, std::size_t rows) {
  if (out.parts.empty()) {
    if (out.rows != rows) std::abort();
    if (out.rows * out.width != (out.type == DataType::bytes ? out.texts.size() : out.numbers.size())) std::abort();
    return;
  }
  for (const auto& part : out.parts) {
    std::size_t count = 1;
    for (auto n : part.shape) count *= static_cast<std::size_t>(n);
    if (part.shape.empty() || part.shape[0] != static_cast<std::int64_t>(rows)) std::abort();
    if (count != (part.type == DataType::bytes ? part.texts.size() : part.numbers.size())) std::abort();
  }
}

// What a file says of itself reaches logs and terminals only in printable form.
void check(const Error& e) {
  for (char c : e.message)
    if (static_cast<unsigned char>(c) < 0x20) std::abort();
}

void ask(const Result<std::unique_ptr<Engine>>& engine, Dice& dice) {
  if (!engine) return check(engine.error());
  if ((*engine)->features() > 200) return;
  for (auto kind : {Kind::numbers, Kind::floats, Kind::holes, Kind::texts, Kind::mixed}) {
    auto f = some_rows(**engine, kind, kind == Kind::floats ? 9 : 2, dice);
    auto out = (*engine)->predict(f);
    if (out)
      check(*out, f.rows);
    else
      check(out.error());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ReadLimits limits;
  limits.max_bytes = 1U << 20;
  limits.max_unpacked = 1U << 20;
  limits.max_nodes = 20'000;
  limits.max_stack = 20'000;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto tree = bytes.starts_with("PK") ? read_skops(bytes, limits) : read_pickle(bytes, limits);
  if (!tree) {
    check(tree.error());
    return 0;
  }
  tree->decode_left = 1U << 20;
  Dice dice;
  dice.state += std::hash<std::string_view>{}(bytes);
  // Versions change what attributes mean.
  static const char* const versions[] = {"1.0.2", "1.2.2", "1.5.2", "1.9.1", ""};
  const char* version = versions[dice.next() % std::size(versions)];
  for (const char* fn : {"predict", "predict_proba", "decision_function", "transform", "predict_log_proba"}) {
    ask(make_engine(*tree, fn, version), dice);
    if (fn[0] == 'p') ask(make_linear_engine(*tree, fn, version), dice);
  }
  return 0;
}
