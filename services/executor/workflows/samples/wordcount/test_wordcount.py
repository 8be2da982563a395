import unittest

from wordcount import count, words


class Words(unittest.TestCase):
    def test_punctuation_and_case_do_not_count(self):
        self.assertEqual(words("Don't stop - don't!"), ["don't", "stop", "don't"])

    def test_other_alphabets(self):
        self.assertEqual(words("Grün, grün: 42 жук"), ["grün", "grün", "42", "жук"])

    def test_no_words(self):
        self.assertEqual(words(" ... "), [])


class Count(unittest.TestCase):
    def test_most_frequent_first_then_alphabetical(self):
        self.assertEqual(count("b a b c a b"), [("b", 3), ("a", 2), ("c", 1)])


if __name__ == "__main__":
    unittest.main()
