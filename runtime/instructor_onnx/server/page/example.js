// What the page starts with: four topics, two forms.

export const TOPIC = "Represent the text for clustering by topic: ";
export const FORM = "Represent the sentence for classifying its form: ";

export const EXAMPLE = `text,topic,form
Which flowers grow in the shade?,garden,question
When should roses be pruned?,garden,question
Ferns and hostas grow well in the shade.,garden,statement
Roses are pruned at the end of winter.,garden,statement
Why is my laptop so slow?,computers,question
Which password is safe enough?,computers,question
A full disk makes a laptop slow.,computers,statement
Long passwords are safer than short ones.,computers,statement
How long does bread dough have to rest?,cooking,question
What makes a soup taste better?,cooking,question
Bread dough rests for an hour.,cooking,statement
A little salt makes a soup taste better.,cooking,statement
How far away is the Moon?,space,question
Why do stars twinkle?,space,question
"The Moon is 384,000 kilometres away.",space,statement
Stars twinkle because air moves.,space,statement
`;
