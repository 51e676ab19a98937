use super::*;

#[test]
fn the_built_in_maps_compile() {
    if let Err(errors) = Maps::builtin() {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"));
    }
}

#[test]
fn mistakes_are_named_with_file_and_line() {
    let text = "segment PID\n  Patient sometimes\n  Patient new\n    3  identifier[  CX>Identifier\n    x  name  string\n    5  name[]  XYZ>HumanName\n    7  birthDate  date if 3\n    8  gender  code Nowhere\n    = active\n  Nonsense new\n";
    let errors = Maps::compile([("PID.map", text)]).unwrap_err();
    let lines: Vec<usize> = errors.iter().map(|e| e.line).collect();
    assert_eq!(lines, [2, 4, 5, 6, 7, 8, 9, 10], "{errors:?}");
    assert!(errors.iter().all(|e| e.file == "PID.map" && !e.message.is_empty()));
}

#[test]
fn a_later_file_replaces_an_earlier_one() {
    let one = ("a.map", "table T\n  M male\n");
    let two = ("b.map", "table T\n  M other\n");
    let maps = Maps::compile([one, two]).unwrap();
    assert_eq!(&*maps.tables[0].row("M").unwrap().code, "other");
}
