// Model files of every form that is read (pickle, joblib with each compression, skops, and the boosters' own), cut
// short and with changed bits: refused with a text fit to print, or an answer in the shape that it says; never a crash.
#include <filesystem>
#include <fstream>

#include "serving/engines/linear.h"
#include "serving/formats/booster_file.h"
#include "serving/formats/pickle.h"
#include "serving/formats/skops.h"

namespace mr::serving {
namespace {

namespace fs = std::filesystem;

std::string content(const fs::path& p) {
  std::ifstream f(p, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

fs::path tests() { return fs::path(__FILE__).parent_path() / "../../tests"; }

bool is_tree(const fs::path& p) {
  auto e = p.extension();
  return e == ".pkl" || e == ".joblib" || e == ".skops";
}

// The reason why it is refused; empty when it answered.
std::string outcome(const fs::path& name, std::string_view bytes) {
  ReadLimits limits;
  limits.max_unpacked = 4U << 20;
  std::unique_ptr<Engine> engine;
  if (is_tree(name)) {
    auto tree = name.extension() == ".skops" ? read_skops(bytes, limits) : read_pickle(bytes, limits);
    if (!tree) return tree.error().message;
    tree->decode_left = 4U << 20;
    auto made = make_engine(*tree, "predict", "1.3.2");
    if (!made) return made.error().message;
    engine = std::move(*made);
  } else {
    auto model = read_booster(bytes, "");
    if (!model) return model.error().message;
    engine = make_boosted_engine(std::move(*model));
  }
  if (engine->features() > 10'000) return "wide";
  Frame f;
  f.rows = 3;
  f.columns = std::max<std::size_t>(1, engine->features());
  for (std::size_t i = 0; i < f.rows * f.columns; ++i) f.data.push_back(static_cast<double>((i * 7) % 5) - 1.5);
  auto out = engine->predict(f);
  if (!out) return out.error().message;
  EXPECT_EQ(out->rows, 3U) << name;
  EXPECT_EQ(out->rows * out->width, out->type == DataType::bytes ? out->texts.size() : out->numbers.size()) << name;
  return {};
}

void expect_printable(const std::string& text, const fs::path& name) {
  EXPECT_LT(text.size(), 2000U) << name;
  for (char c : text) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << name << ": " << text;
}

// One model in all the forms of each version.
std::vector<fs::path> files() {
  std::vector<fs::path> out;
  for (const auto& e : fs::recursive_directory_iterator(tests() / "serving/golden")) {
    auto stem = e.path().filename().string();
    if (e.is_regular_file() && is_tree(e.path()) &&
        (stem.starts_with("logreg_binary.") || stem.starts_with("pipe_frame_text.")))
      out.push_back(e.path());
  }
  for (const auto& e : fs::recursive_directory_iterator(tests() / "serving/golden_boosters"))
    if (e.is_regular_file() && e.path().extension() != ".jsonl" && e.path().extension() != ".py")
      out.push_back(e.path());
  std::sort(out.begin(), out.end());
  return out;
}

TEST(DamagedFiles, AllFormsAreThere) {
  std::set<std::string> forms;
  for (const auto& p : files()) {
    auto name = p.filename().string();
    forms.insert(name.substr(name.find('.')));
    EXPECT_EQ(outcome(p, content(p)).find("not read"), std::string::npos) << p;
  }
  for (const char* form : {".p2.pkl", ".p3.pkl", ".p4.pkl", ".p5.pkl", ".cloud.pkl", ".joblib", ".zlib.joblib",
                           ".gzip.joblib", ".bz2.joblib", ".xz.joblib", ".lzma.joblib", ".lz4.joblib", ".skops",
                           ".deflate.skops", ".json", ".ubj", ".lgb", ".cbm"})
    EXPECT_TRUE(forms.contains(form)) << form;
}

TEST(DamagedFiles, CutShort) {
  for (const auto& p : files()) {
    auto whole = content(p);
    // What follows the last bracket of a JSON text, or the trees of LightGBM's, is not needed.
    auto needed = whole.size();
    if (p.extension() == ".json") needed = whole.rfind('}');
    if (p.extension() == ".lgb") needed = whole.find("end of trees");
    for (std::size_t i = 0; i < 16; ++i) {
      auto at = needed * i / 16;
      auto why = outcome(p, std::string_view(whole).substr(0, at));
      EXPECT_FALSE(why.empty()) << p << " cut at " << at;
      expect_printable(why, p);
    }
    auto why = outcome(p, std::string_view(whole).substr(0, needed - 1));
    EXPECT_FALSE(why.empty()) << p << " without its last byte";
  }
}

TEST(DamagedFiles, ChangedBits) {
  for (const auto& p : files()) {
    const auto whole = content(p);
    std::uint64_t dice = 88172645463325252U + whole.size();
    for (int i = 0; i < 24; ++i) {
      dice ^= dice << 13U;
      dice ^= dice >> 7U;
      dice ^= dice << 17U;
      auto changed = whole;
      auto& byte = changed[dice % changed.size()];
      byte = static_cast<char>(byte ^ (1 << (dice >> 60U & 7U)));
      expect_printable(outcome(p, changed), p);
    }
  }
}

}  // namespace
}  // namespace mr::serving
