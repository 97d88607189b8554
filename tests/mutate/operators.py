# SPDX-License-Identifier: Apache-2.0
"""Single-line faults: what each operator makes of a line of C. A line may give several mutants."""
import re

CONDITION = re.compile(r'^(\s*(?:\} else )?if \()(.+)(\)\s*\{?)$')
CALL = re.compile(r'^\s*(?:\(void\)!?)?[a-z_][\w.>-]*\(.*\);$')
STORE = re.compile(r'^\s*\*?[a-z_][\w.\[\]>-]*(?:\([^()]*\))? [|&^+-]?= [^;]*;$')
DECLARATION = re.compile(r'^\s*(static|const|struct|enum|union|extern|typedef|unsigned|int|long|bool|char|size_t|'
                         r'ssize_t|u8|u16|u32|u64|le16|le32|le64|void|for)\b.*')

# (name, pattern, replacement): every place where the pattern is found is a mutant of its own.
SWAPS = [
    ('compare', re.compile(r' == '), ' != '), ('compare', re.compile(r' != '), ' == '),
    ('bound', re.compile(r' < '), ' <= '), ('bound', re.compile(r' <= '), ' < '),
    ('bound', re.compile(r' > '), ' >= '), ('bound', re.compile(r' >= '), ' > '),
    ('logic', re.compile(r' && '), ' || '), ('logic', re.compile(r' \|\| '), ' && '),
    ('off-by-one', re.compile(r' \+ 1\b(?!\w)'), ''), ('off-by-one', re.compile(r' - 1\b(?!\w)'), ''),
    ('sign', re.compile(r' \+ (?=[a-z(])'), ' - '), ('sign', re.compile(r' - (?=[a-z(])'), ' + '),
    ('mask', re.compile(r' & ~'), ' & '), ('not', re.compile(r'(?<=[(\s])!(?=[a-z])'), ''),
    ('truth', re.compile(r'(?<== )true\b'), 'false'), ('truth', re.compile(r'(?<== )false\b'), 'true'),
    ('truth', re.compile(r'(?<=return )true\b'), 'false'), ('truth', re.compile(r'(?<=return )false\b'), 'true'),
    ('ignore-error', re.compile(r'(?<=return )log_errno\('), '0 * log_errno('),
    ('ignore-error', re.compile(r'(?<=return )-E[A-Z]+;'), '0;'),
    ('ignore-error', re.compile(r'(?<=return )error;'), '0;'),
    ('weaker-order', re.compile(r'__ATOMIC_(RELEASE|ACQUIRE|SEQ_CST)\b'), '__ATOMIC_RELAXED'),
]


def drop_name(line):
    """What kind of statement is dropped."""
    for kind, words in (('drop-fence', r'fence'), ('drop-flush', r'f(data)?sync|flush'),
                        ('drop-log-mark', r'dirty_log|vring_log'), ('drop-close', r'close|release|munmap')):
        if re.search(words, line):
            return kind
    return 'drop-call'


def mutants(line):
    """All (operator, changed line) of one line."""
    found = []
    condition = CONDITION.match(line)
    if condition:
        found.append(('drop-check', f'{condition[1]}0 && ({condition[2]}){condition[3]}'))
        found.append(('always', f'{condition[1]}1 || ({condition[2]}){condition[3]}'))
    indent = line[:len(line) - len(line.lstrip())]
    if CALL.match(line) and not re.search(r'\b(assert|log_\w+|return|crash_point)\b', line):
        found.append((drop_name(line), f'{indent};'))
    elif STORE.match(line) and not DECLARATION.match(line):
        found.append(('drop-store', f'{indent};'))
    for name, pattern, replacement in SWAPS:
        for place in pattern.finditer(line):
            found.append((name, line[:place.start()] + replacement + line[place.end():]))
    return [(name, text) for name, text in found if text != line]


def is_code(line):
    """Neither a comment, a directive, a message's text nor anything outside of a function."""
    text = line.strip()
    return (line.startswith('\t') and text and not text.startswith(('//', '#', '/*', '*', '"'))
            and 'static_assert' not in text and not re.match(r'assert\(', text) and 'log_debug' not in text)


def all_mutants(path):
    """(line number, operator, line, changed line) of a whole file; no constant tables, no text."""
    result = []
    in_table = False
    for number, raw in enumerate(open(path, encoding='utf-8'), 1):
        line = raw.rstrip('\n')
        if re.match(r'^(static )?(const )?.*\] ?= \{$|^(static )?const struct .* = \{$', line):
            in_table = True
        elif line == '};':
            in_table = False
        if in_table or not is_code(line):
            continue
        code = line.split(' // ')[0]
        if code.count('"') % 2 == 0:
            result += [(number, name, line, text + line[len(code):]) for name, text in mutants(code)
                       if '"' not in code or code.split('"')[1::2] == text.split('"')[1::2]]
    return result
